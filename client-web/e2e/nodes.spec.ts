/** A page whose node is killed goes on with another one: its session, and all that it asks for. */

import { type Browser, test as base, expect } from '@playwright/test';
import { type Account, Nodes } from './nodes.ts';
import type { Server } from './server.ts';
import { Tab } from './tab.ts';

/** How long a page may take: the others must find out, and it waits between its attempts. */
const GOES_ON_MS = 30_000;

const test = base.extend<{ nodes: (count: number) => Promise<Nodes> }>({
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads what is needed from the pattern
  nodes: async ({}, use) => {
    const started: Nodes[] = [];
    await use(async (count) => {
      const nodes = await Nodes.start(count);
      started.push(nodes);
      return nodes;
    });
    for (const nodes of started) await nodes.remove();
  },
});

test.skip(
  process.env.RALLY_TEST_SERVICES !== '1',
  'needs services (cargo xtask services up), and RALLY_TEST_SERVICES=1',
);

/** Opens the page of a node in a browser of somebody's own, and logs in. */
async function enter(browser: Browser, node: Server, { user, password }: Account): Promise<Tab> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(node.url);
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('navigation', { name: 'Chats' })).toBeVisible();
  return new Tab(page);
}

/** Finds somebody, who may never have been written to. */
async function finds(tab: Tab, { user }: Account): Promise<void> {
  const search = tab.page.getByRole('searchbox', { name: 'Find a user' });
  await search.fill(user);
  await expect(tab.line(user)).toBeVisible({ timeout: GOES_ON_MS });
}

test('a page whose node is killed goes on both ways, and finds people', async ({
  browser,
  nodes: start,
}) => {
  const nodes = await start(2);
  const [first, second] = [nodes.node(0), nodes.node(1)];
  const at = (node: string) => async (account: Account) =>
    (await Nodes.placed(second, account)) === node;
  const ana = await Nodes.accountWhere(first, at('node-0'));
  const ben = await Nodes.accountWhere(first, at('node-1'));
  const cid = await Nodes.account(second);
  // Ana's page and session are the first node's, Ben's the second's; and there is a page of Ben's
  // from the first node whose session is at the second.
  const anas = await enter(browser, first, ana);
  const bens = await enter(browser, second, ben);
  const other = await enter(browser, first, ben);
  await finds(anas, ben);
  await anas.opens(ben.user);
  await anas.says('one');
  await bens.opens(ana.user, 'one');
  await other.opens(ana.user, 'one');
  await bens.says('two');
  for (const tab of [anas, bens, other]) await tab.sees(['one', 'two']);

  await first.dies();
  const died = Date.now();
  await anas.says('three');
  await bens.sees(['one', 'two', 'three'], GOES_ON_MS);
  // biome-ignore lint/suspicious/noConsole: how long it took is worth knowing
  console.log(`from the page of the dead node: ${Date.now() - died} ms`);
  await bens.says('four');
  await anas.sees(['one', 'two', 'three', 'four'], GOES_ON_MS);
  // biome-ignore lint/suspicious/noConsole: how long it took is worth knowing
  console.log(`and back: ${Date.now() - died} ms`);
  await other.sees(['one', 'two', 'three', 'four'], GOES_ON_MS);
  await anas.seesTick('three', 'Read');
  for (const tab of [anas, other]) {
    await finds(tab, cid);
    await tab.opens(cid.user);
    await tab.says(`to ${cid.user}`);
    await tab.seesTick(`to ${cid.user}`, 'Sent');
  }
});

test('a page goes on at a node that joined after it was loaded', async ({
  browser,
  nodes: start,
}) => {
  const nodes = await start(3);
  const [first, second, third] = [nodes.node(0), nodes.node(1), nodes.node(2)];
  const others = await Promise.all(
    Array.from({ length: 12 }, () =>
      Nodes.accountWhere(
        second,
        async (account) => (await Nodes.placed(second, account)) === 'node-2',
      ),
    ),
  );
  await third.dies();
  // Ana is at home at the third, and without it at the first.
  let ana: Account | undefined;
  await expect
    .poll(
      async () => {
        for (const account of others) {
          if ((await Nodes.placed(second, account)) === 'node-0') ana = account;
        }
        return ana !== undefined;
      },
      { timeout: GOES_ON_MS },
    )
    .toBe(true);
  if (ana === undefined) return;
  const ben = await Nodes.account(second);
  const anas = await enter(browser, first, ana);
  const bens = await enter(browser, second, ben);
  await finds(anas, ben);
  await anas.opens(ben.user);
  await anas.says('one');
  await bens.opens(ana.user, 'one');
  await bens.sees(['one']);

  await third.returns();
  const home = ana;
  await expect.poll(() => Nodes.placed(second, home), { timeout: GOES_ON_MS }).toBe('node-2');
  await first.dies();
  const died = Date.now();
  await anas.says('two');
  await bens.sees(['one', 'two'], GOES_ON_MS);
  // biome-ignore lint/suspicious/noConsole: how long it took is worth knowing
  console.log(`at a node that the page had not heard of: ${Date.now() - died} ms`);
  await bens.says('three');
  await anas.sees(['one', 'two', 'three'], GOES_ON_MS);
});
