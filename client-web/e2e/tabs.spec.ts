/** Many tabs of one user, reloads, and a server that dies: nothing lost, nothing doubled. */

import { expect } from '@playwright/test';
import { test } from './fixture.ts';
import { Tab } from './tab.ts';

/** How long clients may take to come back after a server was away. */
const RETURN_MS = 45_000;

test('three tabs of one user show each message once, and clear their badges together', async ({
  server,
  enter,
}) => {
  const [rafa, first] = [await enter('Rafa'), await enter('Roger')];
  const context = first.page.context();
  const tabs = [first, await Tab.another(context, server), await Tab.another(context, server)];
  await rafa.opens('Roger');
  const said = ['one', 'two', 'three', 'four'];
  for (const text of said) await rafa.says(text);
  for (const tab of tabs) {
    await expect(tab.line('Rafa')).toContainText('4 unread');
    await expect(tab.page).toHaveTitle('(4) Rally');
  }
  await first.opens('Rafa');
  for (const tab of tabs) {
    await expect(tab.line('Rafa')).not.toContainText('unread');
    await expect(tab.page).toHaveTitle('Rally');
  }
  for (const tab of tabs.slice(1)) await tab.opens('Rafa');
  await tabs[1]?.says('five');
  await rafa.says('six');
  for (const tab of [...tabs, rafa]) await tab.sees([...said, 'five', 'six']);
});

test('a duplicated tab becomes a client of its own', async ({ server, enter }) => {
  const roger = await enter('Roger');
  const [copy] = await Promise.all([
    roger.page.context().waitForEvent('page'),
    // What a script opens begins with a copy of this tab's session storage, as a duplicate does.
    roger.page.evaluate((url) => void open(url), server.url),
  ]);
  await expect(copy.getByRole('navigation', { name: 'Chats' })).toBeVisible();
  const idOf = () => sessionStorage.getItem('rally.client');
  expect(await copy.evaluate(idOf)).not.toBe(await roger.page.evaluate(idOf));
  const rafa = await enter('Rafa');
  await rafa.opens('Roger');
  await rafa.says('to both');
  for (const tab of [roger, new Tab(copy)]) {
    await expect(tab.line('Rafa')).toContainText('1 unread');
    await expect(tab.page.getByText('open in another window')).toHaveCount(0);
  }
});

test('a reload in the middle of sending loses nothing and doubles nothing', async ({ enter }) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  await rafa.opens('Roger');
  await roger.opens('Rafa');
  const all = Array.from({ length: 60 }, (_, i) => `message ${i + 1}`);
  for (const [i, text] of all.entries()) {
    await rafa.says(text);
    if (i % 20 === 10) await rafa.page.reload();
  }
  await rafa.page.reload();
  await roger.seesAll(all);
  await rafa.seesAll(all);
  await rafa.seesTick('message 60', 'Read');
  await roger.page.reload();
  await roger.seesAll(all);
});

test('a server killed while both write loses nothing, doubles nothing, and keeps one order', async ({
  server,
  enter,
}) => {
  const [rafa, roger] = [await enter('Rafa'), await enter('Roger')];
  const second = await Tab.another(roger.page.context(), server);
  await rafa.opens('Roger');
  for (const tab of [roger, second]) await tab.opens('Rafa');
  const said: string[] = [];
  const write = async (tab: Tab, who: string, count: number) => {
    for (let i = 0; i < count; i += 1) {
      const text = `${who} ${said.length}`;
      said.push(text);
      await tab.says(text);
    }
  };
  const bothWrite = (count: number) =>
    Promise.all([write(rafa, 'rafa', count), write(roger, 'roger', count)]);

  await bothWrite(10);
  const during = bothWrite(15);
  await server.dies();
  await during;
  await bothWrite(5);
  await server.returns();
  await bothWrite(10);

  for (const tab of [rafa, roger]) {
    await expect(tab.message(said.at(-1) ?? '')).toBeVisible({ timeout: RETURN_MS });
    await expect(tab.page.getByRole('img', { name: 'Waiting to be sent' })).toHaveCount(0, {
      timeout: RETURN_MS,
    });
  }
  const order = await rafa.texts();
  expect([...order].sort()).toEqual([...said].sort());
  for (const tab of [roger, second]) await tab.sees(order, RETURN_MS);
  // What is stored is what was shown.
  for (const tab of [rafa, second]) {
    await tab.page.reload();
    await tab.seesAll(order);
  }
  for (const who of ['rafa', 'roger']) {
    const own = (texts: readonly string[]) => texts.filter((text) => text.startsWith(who));
    expect(own(order)).toEqual(own(said));
  }
});
