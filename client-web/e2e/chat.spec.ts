/** Two people chat. */

import { expect } from '@playwright/test';
import { test } from './fixture.ts';

test("two people see each other's messages, and ticks go to read", async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('Vamos, Roger!');
  // Roger has no chat open: his browser got it, and he has not seen it.
  await rafa.seesTick('Vamos, Roger!', 'Delivered');
  await expect(roger.line('Rafa')).toContainText('1 unread');
  await roger.opens('Rafa');
  await roger.sees(['Vamos, Roger!']);
  await rafa.seesTick('Vamos, Roger!', 'Read');
  await expect(roger.line('Rafa')).not.toContainText('unread');

  await roger.says('Grüezi 👋');
  await rafa.sees(['Vamos, Roger!', 'Grüezi 👋']);
  await roger.seesTick('Grüezi 👋', 'Read');
});

test('a message to somebody who is away is sent, and delivered when he comes', async ({
  enter,
}) => {
  const rafa = await enter('Rafa');
  await rafa.opens('Andy');
  await rafa.says('Are you there?');
  await rafa.seesTick('Are you there?', 'Sent');
  const andy = await enter('Andy');
  await rafa.seesTick('Are you there?', 'Delivered');
  await expect(andy.page).toHaveTitle('(1) Rally');
});

test('an edit is seen by both, and marked as one', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('Wimbeldon');
  await roger.opens('Rafa', 'Wimbeldon');
  await roger.sees(['Wimbeldon']);
  await rafa.does('Edit', 'Wimbeldon');
  await expect(rafa.field()).toHaveValue('Wimbeldon');
  await rafa.says('Wimbledon');
  for (const tab of [rafa, roger]) {
    await tab.sees(['Wimbledon']);
    await expect(tab.message('Wimbledon')).toContainText('edited');
  }
});

test('a deleted message is gone for both, and stays gone after a reload', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('a slip');
  await rafa.says('a word');
  await roger.opens('Rafa', 'a word');
  await roger.sees(['a slip', 'a word']);
  await rafa.does('Delete', 'a slip');
  await rafa.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  for (const tab of [rafa, roger]) {
    await tab.sees(['a word']);
    await expect(tab.page.getByRole('article').first()).toContainText('Message deleted');
    await tab.page.reload();
    await tab.sees(['a word']);
    await expect(tab.page.getByRole('article').first()).toContainText('Message deleted');
  }
});

test('who writes is shown as typing, who is there as online', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('hello');
  await roger.opens('Rafa', 'hello');
  const header = rafa.page.getByRole('main').getByRole('banner');
  await expect(rafa.page.locator('.presence')).toHaveText('online');
  await expect(header).toHaveCount(0);
  await roger.field().pressSequentially('I was');
  await expect(rafa.page.locator('.presence')).toHaveText('typing…');
  await roger.field().press('Enter');
  await expect(rafa.page.locator('.presence')).toHaveText('online');
});

test('an answer shows what it answers', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('Clay or grass?');
  await roger.opens('Rafa', 'Clay or grass?');
  await roger.does('Reply', 'Clay or grass?');
  await roger.says('Grass');
  await expect(rafa.message('Grass').getByRole('blockquote')).toContainText('Clay or grass?');
});

test('who is blocked is told that he cannot be reached', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await roger.opens('Rafa');
  await roger.page.getByRole('button', { name: 'More about Rafa' }).click();
  await roger.page.getByRole('menuitem', { name: 'Block Rafa' }).click();
  await expect(roger.page.getByText('You have blocked Rafa.')).toBeVisible();
  await rafa.opens('Roger');
  await rafa.says('hello?');
  const refused = rafa.message('hello?').getByRole('alert');
  await expect(refused).toContainText('Not sent');
  await refused.getByRole('button', { name: 'Dismiss' }).click();
  await rafa.sees([]);
});
