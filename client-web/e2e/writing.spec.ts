/** The field in which one writes: what it refuses, what it keeps, and that the focus comes back. */

import { expect } from '@playwright/test';
import { test } from './fixture.ts';
import { Tab } from './tab.ts';

test('a text whose frame would be too long is refused in the field', async ({ enter }) => {
  const rafa = await enter('Rafa');
  await rafa.opens('Roger');
  await rafa.field().fill(`a${'"'.repeat(50_000)}`);
  await expect(rafa.page.getByRole('alert')).toContainText('100003 bytes');
  await expect(rafa.page.getByRole('button', { name: 'Send' })).toBeDisabled();
  const longest = `a${'"'.repeat(48_000)}`;
  await rafa.says(longest);
  await rafa.seesTick(longest, 'Sent');
});

test('what was begun and what it answers survive a reload and a look elsewhere', async ({
  enter,
}) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('Clay or grass?');
  await roger.opens('Rafa', 'Clay or grass?');
  await roger.says('Well');
  await roger.does('Reply', 'Clay or grass?');
  await roger.field().fill('I would say');
  const isAsLeft = async () => {
    await expect(roger.field()).toHaveValue('I would say');
    await expect(roger.page.locator('.subject')).toContainText('Clay or grass?');
  };
  await roger.page.reload();
  await isAsLeft();
  // An edit only interrupts it.
  await roger.does('Edit', 'Well');
  await expect(roger.field()).toHaveValue('Well');
  await roger.field().press('Escape');
  await isAsLeft();
  await roger.opens('Andy');
  await expect(roger.field()).toHaveValue('');
  await roger.opens('Rafa');
  await roger.says('I would say grass');
  await expect(rafa.message('I would say grass').getByRole('blockquote')).toContainText('Clay');
  await roger.page.reload();
  await expect(roger.message('I would say grass')).toBeVisible();
  await expect(roger.field()).toHaveValue('');
  await expect(roger.page.locator('.subject')).toHaveCount(0);
});

test('a browser without a database says so, and keeps what is not sent through a reload', async ({
  browser,
  server,
}) => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new Error('a private window');
    };
  });
  const rafa = await Tab.logIn(context, server, 'Rafa');
  await expect(rafa.page.getByRole('status', { name: 'Notices' })).toContainText('keeps nothing');
  let isCut = true;
  await context.routeWebSocket(/\/ws/, (socket) => {
    if (!isCut) socket.connectToServer();
  });
  await rafa.page.reload();
  await rafa.opens('Roger');
  await rafa.says('not lost');
  await rafa.seesTick('not lost', 'Waiting to be sent');
  isCut = false;
  await rafa.page.reload();
  await rafa.seesTick('not lost', 'Sent');
});

test('the focus is in the field when what had it goes away', async ({ enter }) => {
  const [rafa, andy] = [await enter('Rafa'), await enter('Andy')];
  await rafa.opens('Roger');
  await rafa.field().fill('by the button');
  await rafa.page.getByRole('button', { name: 'Send' }).click();
  await expect(rafa.field()).toBeFocused();

  await rafa.does('Reply', 'by the button');
  await rafa.page.getByRole('button', { name: 'Cancel' }).click();
  await expect(rafa.field()).toBeFocused();

  await rafa.does('Delete', 'by the button');
  await rafa.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(rafa.field()).toBeFocused();

  for (let i = 1; i <= 30; i += 1) await rafa.says(`message ${i}`);
  await rafa.page.getByRole('region', { name: 'Messages' }).evaluate((box) => {
    box.scrollTop = 0;
  });
  await rafa.page.getByRole('button', { name: 'Newest messages' }).click();
  await expect(rafa.field()).toBeFocused();

  await andy.opens('Rafa');
  await andy.page.getByRole('button', { name: 'More about Rafa' }).click();
  await andy.page.getByRole('menuitem', { name: 'Block Rafa' }).click();
  await expect(andy.page.getByText('You have blocked Rafa.')).toBeVisible();
  await rafa.opens('Andy');
  await rafa.says('refused');
  const refused = rafa.message('refused').getByRole('alert');
  for (const name of ['Retry', 'Dismiss']) {
    await refused.getByRole('button', { name }).click();
    await expect(rafa.field()).toBeFocused();
  }
  await expect(rafa.message('refused')).toHaveCount(0);

  await rafa.page.getByRole('button', { name: 'More about Andy' }).click();
  await rafa.page.getByRole('menuitem', { name: 'Close chat' }).click();
  await expect(rafa.line('Andy')).toBeFocused();
});

test('an item of a menu that keys have reached is outlined', async ({ enter }) => {
  const rafa = await enter('Rafa');
  await rafa.page.getByRole('button', { name: 'Settings' }).focus();
  await rafa.page.keyboard.press('Enter');
  await rafa.page.keyboard.press('ArrowDown');
  const item = rafa.page.getByRole('menuitem', { name: 'Log out', exact: true });
  await expect(item).toBeFocused();
  await expect(item).toHaveCSS('outline-style', 'solid');
});

test('the same words twice in a row are announced twice', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await expect(roger.page.getByRole('navigation')).toBeVisible();
  const said = roger.page.getByRole('log').locator('p');
  await rafa.says('Out!');
  await expect(said).toHaveText('Rafa: Out!');
  await said.evaluate((element) => element.setAttribute('data-heard', ''));
  await rafa.says('Out!');
  // What stays as it is, no screen reader says again.
  await expect(said.and(roger.page.locator(':not([data-heard])'))).toHaveText('Rafa: Out!');
});

test('words that run from right to left stand so, and turn nothing around them', async ({
  enter,
}) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('שלום, Roger!');
  await roger.opens('Rafa', 'שלום, Roger!');
  const text = roger.message('שלום, Roger!').locator('.text');
  await expect(text).toHaveCSS('direction', 'rtl');
  await rafa.field().fill('مرحبا');
  await expect(rafa.field()).toHaveCSS('direction', 'rtl');
  await expect(roger.line('Rafa').locator('.preview')).toHaveCSS('direction', 'rtl');
  await expect(roger.page.getByRole('heading', { name: 'Rafa @rafa' })).toBeVisible();
});
