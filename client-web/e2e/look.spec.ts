/** What the pages look like: pictures of them to be looked at, and no barrier that axe finds. */

import AxeBuilder from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';
import { test } from './fixture.ts';
import { Tab } from './tab.ts';

const FOLDER = 'screenshots';

/** Fails on what keeps somebody from using the page. */
async function hasNoBarriers(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const grave = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join('\n')}`);
  expect(grave).toEqual([]);
}

for (const scheme of ['light', 'dark'] as const) {
  test(`nothing keeps anybody from using the pages, ${scheme}`, async ({
    browser,
    server,
    enter,
  }) => {
    const context = await browser.newContext({ colorScheme: scheme });
    const page = await context.newPage();
    const picture = (name: string) =>
      page.screenshot({ path: `${FOLDER}/${scheme}-${name}.png`, animations: 'disabled' });
    await page.goto(server.url);
    await expect(page.getByRole('button', { name: 'Andy' })).toBeVisible();
    await hasNoBarriers(page);
    await picture('log-in');
    await page.getByRole('button', { name: 'Create an account' }).click();
    await hasNoBarriers(page);
    await page.getByRole('button', { name: 'I have an account' }).click();

    const roger = await enter('Roger');
    const carlos = await enter('Carlos');
    await page.getByRole('button', { name: 'Rafa' }).click();
    const rafa = new Tab(page);
    await expect(rafa.line('Novak')).toBeVisible();
    await picture('empty');
    await rafa.opens('Roger');
    await rafa.says('Roger, are you coming to the court on Saturday?');
    await rafa.says('I have booked number 3, and Andy brings the balls. We start at nine.');
    await roger.opens('Rafa', 'We start at nine.');
    await roger.says('Of course!');
    await rafa.message('Of course!').waitFor();
    await roger.does(
      'Reply',
      'I have booked number 3, and Andy brings the balls. We start at nine.',
    );
    await roger.says('Nine is early 😅\nCan we say ten?');
    await roger.says('A word too many');
    await roger.does('Delete', 'A word too many');
    await roger.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await rafa.says('Tenn it is');
    await rafa.does('Edit', 'Tenn it is');
    await rafa.says('Ten it is');
    await rafa.seesTick('Ten it is', 'Read');
    await carlos.opens('Rafa');
    await carlos.says('Did you see the draw?');
    await carlos.says('We could meet in the final');
    await carlos.says('Suerte, and do not wait for me after the match: I shall be late, as ever');
    await expect(rafa.line('Carlos')).toContainText('3 unread');
    await roger.field().pressSequentially('…');
    await expect(page.locator('.presence')).toHaveText('typing…');
    await hasNoBarriers(page);
    await picture('chat');

    await carlos.page.getByRole('button', { name: 'More about Rafa' }).click();
    await carlos.page.getByRole('menuitem', { name: 'Block Rafa' }).click();
    await expect(carlos.page.getByText('You have blocked Rafa.')).toBeVisible();
    await rafa.opens('Carlos');
    await rafa.says('See you there');
    await expect(page.getByRole('alert')).toContainText('Not sent');
    await hasNoBarriers(page);
    await picture('refused');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    await rafa.opens('Roger');

    await rafa.message('Ten it is').hover();
    await rafa
      .message('Ten it is')
      .getByRole('button', { name: 'What to do with this message' })
      .click();
    await expect(page.getByRole('menuitem', { name: 'Delete' })).toBeVisible();
    await hasNoBarriers(page);
    await picture('menu');
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await expect(page.getByRole('dialog')).toBeVisible();
    await hasNoBarriers(page);
    await picture('question');
    await page.getByRole('button', { name: 'Cancel' }).click();

    await server.dies();
    await rafa.says('Still there?');
    await expect(page.getByText('Offline.')).toBeVisible();
    await hasNoBarriers(page);
    await picture('offline');

    await page.setViewportSize({ width: 390, height: 780 });
    await picture('narrow-chat');
    await page.getByRole('button', { name: 'Back to the chats' }).click();
    await expect(rafa.line('Roger')).toBeVisible();
    await picture('narrow-inbox');
  });
}
