/** The ways in and out, finding people, and a long thread. */

import { expect } from '@playwright/test';
import { test } from './fixture.ts';
import { Tab } from './tab.ts';

test('somebody new registers, finds a user by the beginning of his name, and writes to him', async ({
  browser,
  server,
  enter,
}) => {
  const roger = await enter('Roger');
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.url);
  await page.getByRole('button', { name: 'Create an account' }).click();
  await page.getByLabel('User name').fill('Stan');
  await page.getByLabel('Name shown to others').fill('Stan the Man');
  await page.getByLabel('Password').fill('backhand!');
  await page.getByRole('button', { name: 'Create account' }).click();
  const stan = new Tab(page);
  // All of it by keys.
  await page.getByRole('searchbox', { name: 'Find a user' }).fill('rog');
  await expect(stan.line('Roger')).toBeVisible();
  await expect(stan.line('Rafa')).toHaveCount(0);
  await page.keyboard.press('Enter');
  await expect(stan.field()).toBeFocused();
  await page.keyboard.type('Allez');
  await page.keyboard.press('Enter');
  await expect(roger.line('Stan the Man')).toContainText('Allez');
});

test('a wrong password is told, and nobody is logged in', async ({ browser, server }) => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.url);
  await page.getByLabel('User name').fill('rafa');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await expect(page.getByRole('navigation')).toHaveCount(0);
});

/** Logs out by the menu, and sees the log-in page. */
async function leaves(tab: Tab, how: 'Log out' | 'Log out everywhere'): Promise<void> {
  await tab.page.getByRole('button', { name: 'Settings' }).click();
  await tab.page.getByRole('menuitem', { name: how, exact: true }).click();
  await expect(tab.page.getByLabel('Password')).toBeVisible();
}

test('who logs out everywhere is out in every tab and on every device', async ({
  browser,
  server,
  enter,
}) => {
  const rafa = await enter('Rafa');
  const other = await Tab.another(rafa.page.context(), server);
  const elsewhere = await Tab.logIn(await browser.newContext(), server, 'Rafa');
  await elsewhere.opens('Roger');
  await leaves(rafa, 'Log out everywhere');
  await expect(other.page.getByLabel('Password')).toBeVisible();
  await expect(elsewhere.page.getByText('You are logged out.')).toBeVisible();
  await expect(elsewhere.page.getByRole('navigation')).toHaveCount(0);
  await elsewhere.page.getByRole('button', { name: 'Log in' }).click();
  await expect(elsewhere.page.getByLabel('Password')).toBeVisible();
});

test('who logs out in one tab is out in the others, and finds all his chats when he comes back', async ({
  server,
  enter,
}) => {
  const rafa = await enter('Rafa');
  for (const name of ['Roger', 'Andy', 'Novak']) {
    await rafa.opens(name);
    await rafa.says(`Hi ${name}`);
    await rafa.seesTick(`Hi ${name}`, 'Sent');
  }
  const other = await Tab.another(rafa.page.context(), server);
  await other.opens('Roger', 'Hi Roger');
  await other.field().fill('not for others');
  await leaves(rafa, 'Log out');
  await expect(other.page.getByLabel('Password')).toBeVisible();
  const left = await other.page.evaluate(() => Object.keys({ ...sessionStorage }));
  expect(left).toEqual(['rally.client']);

  await rafa.page.getByRole('button', { name: 'Rafa', exact: true }).click();
  for (const name of ['Roger', 'Andy', 'Novak']) {
    await expect(rafa.line(name)).toContainText(`Hi ${name}`);
  }
  await rafa.page.reload();
  for (const name of ['Roger', 'Andy', 'Novak']) {
    await expect(rafa.line(name)).toContainText(`Hi ${name}`);
  }
});

test('a log-out counts what other tabs have not sent either', async ({ server, enter }) => {
  const rafa = await enter('Rafa');
  const other = await Tab.another(rafa.page.context(), server);
  await other.opens('Roger');
  await server.dies();
  await other.says('one');
  await other.says('two');
  await expect(other.page.getByRole('img', { name: 'Waiting to be sent' })).not.toHaveCount(0);
  await rafa.page.getByRole('button', { name: 'Settings' }).click();
  await rafa.page.getByRole('menuitem', { name: 'Log out', exact: true }).click();
  await expect(rafa.page.getByRole('dialog')).toContainText('2 of your changes');
});

test('a tab that shows somebody else does nothing in the name of who is logged in', async ({
  server,
  enter,
}) => {
  const rafa = await enter('Rafa');
  const context = rafa.page.context();
  // A tab that slept through the log-out of the other one: neither that nor the server tells it.
  await context.addInitScript(() => {
    BroadcastChannel.prototype.postMessage = () => {};
  });
  let isOver = false;
  await context.routeWebSocket(/\/ws$/, (page) => {
    const server = page.connectToServer();
    const isOfBefore = !isOver;
    const sleeps = () => isOver && isOfBefore;
    server.onMessage((frame) => {
      if (!sleeps()) page.send(frame);
    });
    server.onClose((code, reason) => {
      if (!sleeps()) void page.close({ code, reason });
    });
  });
  const stale = await Tab.another(context, server);
  await rafa.page.reload();
  await expect(rafa.page.getByRole('button', { name: 'Settings' })).toBeVisible();
  isOver = true;
  await leaves(rafa, 'Log out');
  await rafa.page.getByRole('button', { name: 'Roger', exact: true }).click();
  await expect(rafa.page.getByRole('heading', { name: 'Roger', exact: true })).toBeVisible();

  await stale.page.getByRole('button', { name: 'Settings' }).click();
  await stale.page.getByRole('menuitemcheckbox', { name: 'Hide when I am online' }).click();
  await expect(stale.page.getByRole('heading', { name: 'Roger', exact: true })).toBeVisible();
  await stale.page.getByRole('button', { name: 'Settings' }).click();
  await expect(stale.page.getByRole('menuitemcheckbox')).toHaveAttribute('aria-checked', 'false');
});

test('a browser that does not keep the log-in is told, and may try again', async ({
  browser,
  server,
}) => {
  const page = await (await browser.newContext()).newPage();
  await page.route('**/api/login', (route) => route.fulfill({ status: 200, json: {} }));
  await page.goto(server.url);
  await page.getByRole('button', { name: 'Rafa', exact: true }).click();
  await expect(page.getByRole('alert')).toContainText('cookies');
  await page.unroute('**/api/login');
  await page.getByRole('button', { name: 'Rafa', exact: true }).click();
  await expect(page.getByRole('navigation', { name: 'Chats' })).toBeVisible();
});

test('a tab that is taken over says so, and takes the session back when asked', async ({
  browser,
  server,
  enter,
}) => {
  const rafa = await enter('Rafa');
  const client = await rafa.page.evaluate(() => sessionStorage.getItem('rally.client') ?? '');
  const context = await browser.newContext({
    storageState: await rafa.page.context().storageState(),
  });
  await context.addInitScript((id) => sessionStorage.setItem('rally.client', id), client);
  const copy = await Tab.another(context, server);
  await expect(rafa.page.getByText('open in another window')).toBeVisible();
  await rafa.page.getByRole('button', { name: 'Use here' }).click();
  await expect(copy.page.getByText('open in another window')).toBeVisible();
  await expect(rafa.page.getByText('open in another window')).toHaveCount(0);
});

test('a question that is declined changes nothing and gives the focus back', async ({ enter }) => {
  const rafa = await enter('Rafa');
  await rafa.opens('Roger');
  await rafa.says('to be kept');
  await rafa.does('Delete', 'to be kept');
  await rafa.page.keyboard.press('Escape');
  await expect(rafa.page.getByRole('dialog')).toHaveCount(0);
  await expect(
    rafa.message('to be kept').getByRole('button', { name: 'What to do with this message' }),
  ).toBeFocused();
  await rafa.sees(['to be kept']);
});

test('who hides his presence is not shown as online', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await rafa.says('hello');
  await expect(roger.line('Rafa').getByRole('img', { name: 'online' })).toBeVisible();
  await rafa.page.getByRole('button', { name: 'Settings' }).click();
  await rafa.page.getByRole('menuitemcheckbox', { name: 'Hide when I am online' }).click();
  await rafa.page.getByRole('button', { name: 'Settings' }).click();
  await expect(rafa.page.getByRole('menuitemcheckbox')).toHaveAttribute('aria-checked', 'true');
  await roger.page.reload();
  await roger.opens('Rafa', 'hello');
  await roger.says('are you there?');
  // By now the answer about his presence has come too.
  await roger.seesTick('are you there?', 'Read');
  await expect(roger.page.locator('.presence')).toHaveText('');
});

test('a long thread: older messages load above without a jump, new ones wait below', async ({
  enter,
}) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  const all = Array.from({ length: 90 }, (_, i) => `message ${i + 1}`);
  for (const text of all) await rafa.says(text);
  await rafa.seesTick('message 90', 'Delivered');

  // A browser that has nothing yet loads the newest page.
  await roger.opens('Rafa', 'message 90');
  await expect(roger.message('message 90')).toBeInViewport();
  // What reading it changes on the page has changed: from here on nothing moves but by scrolling.
  await rafa.seesTick('message 90', 'Read');
  const box = roger.page.getByRole('region', { name: 'Messages' });
  const topOf = async (text: string) => (await roger.message(text).boundingBox())?.y ?? 0;
  await box.evaluate((element) => {
    element.scrollTop = 900;
  });
  const shown = (await roger.texts())[25] ?? '';
  const before = (await roger.texts()).length;
  const top = await topOf(shown);
  await roger.page.mouse.move(800, 300);
  await roger.page.mouse.wheel(0, -200);
  await expect.poll(() => roger.texts().then((texts) => texts.length)).toBeGreaterThan(before);
  expect(Math.abs((await topOf(shown)) - top - 200)).toBeLessThan(3);

  await rafa.says('news');
  await expect(roger.page.getByRole('button', { name: '1 new message' })).toBeVisible();
  expect(Math.abs((await topOf(shown)) - top - 200)).toBeLessThan(3);
  await expect(roger.line('Rafa')).toContainText('1 unread');
  await roger.page.getByRole('button', { name: '1 new message' }).click();
  await expect(roger.message('news')).toBeInViewport();
  await rafa.seesTick('news', 'Read');
  // At the bottom it stays there.
  for (const text of ['more', 'and more']) await rafa.says(text);
  await expect(roger.message('and more')).toBeInViewport();
  await roger.seesAll([...all, 'news', 'more', 'and more']);
});
