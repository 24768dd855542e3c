/** What is left of a user on the machine when his log-in is over, here or in another tab. */

import { afterEach, expect, test, vi } from 'vitest';
import { type Me, Problem } from '../src/core/api.ts';
import { Farewell } from '../src/core/farewell.ts';
import { Cache } from '../src/core/store/cache.ts';
import { Database, openDatabase } from '../src/core/store/idb.ts';
import { Outbox } from '../src/core/store/outbox.ts';
import type { Liveness } from '../src/core/tabs.ts';
import { Writer } from '../src/core/writer.ts';
import { whoEnters } from '../src/session.ts';
import type { ByeReason, ClientId } from '../src/wire.ts';
import { answer, browserOfEachTest, texts, welcome } from './browser.ts';
import { CLIENT, ME, PEER, STORE, TALK, theirs, until } from './given.ts';

const OTHER = '00000000-0000-4000-8000-00000000beef';
const THIRD = '00000000-0000-4000-8000-00000000cafe';

const browser = browserOfEachTest();

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const cache = async () => new Cache(await openDatabase(browser().factory));

/** Gives all that was told and is on the disk. */
async function kept() {
  const all = { user: ME, client: CLIENT, store: STORE, cursor: '', inboxFrom: '' };
  const rows = await (await cache()).inbox({ ...all, windows: {}, savedAt: 0 });
  return { ...rows, claimants: await (await cache()).claimants(ME) };
}

/** Loads a page that is told its chats, and means to send something. */
async function withUnsent() {
  const { page, line } = await browser().load();
  welcome(line);
  await until(() => line.of('inbox').length > 0);
  answer(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'unsent');
  return { page, line };
}

test('when the log-in is over what was told is deleted from the machine, and what was meant stays', async () => {
  const { line } = await withUnsent();
  line.says({ type: 'bye', reason: 'logged_out' });
  await until(async () => (await (await cache()).begin(ME)) === 1);
  expect(await kept()).toEqual({ entries: [], newer: [], claimants: [] });
  const next = await browser().load();
  expect(next.page.state().conversations[TALK]?.thread).toEqual([]);
  expect(next.page.state().intents).toMatchObject([{ text: 'unsent' }]);
});

test('who enters finds nothing of what others were told, and what they meant to do stays', async () => {
  const entries: readonly (() => Promise<Me>)[] = [
    async () => ({ user: PEER, name: 'Ben', hide_presence: false }),
    async () => {
      throw new Problem(401, 'nobody is logged in');
    },
  ];
  vi.stubGlobal('indexedDB', browser().factory);
  for (const me of entries) {
    const { page, line } = await withUnsent();
    page.keep();
    await until(async () => (await kept()).entries.length > 0);

    await whoEnters({ me });
    // A tab of hers that nobody told lives on, and must not write it back.
    line.says({ type: 'message', ...theirs(2) }, { type: 'synced', cursor: 'c2' });
    await page.stop();
    expect(await kept()).toEqual({ entries: [], newer: [], claimants: [] });
    expect(texts((await browser().load()).page)).toContain('unsent');
  }
});

test('who enters finds what he was told himself', async () => {
  vi.stubGlobal('indexedDB', browser().factory);
  const { page, line } = await browser().load();
  welcome(line);
  await until(() => line.of('inbox').length > 0);
  answer(line);
  await page.stop();
  await whoEnters({ me: async () => ({ user: ME, name: 'Ana', hide_presence: false }) });
  expect(await kept()).toMatchObject({ entries: [{ peer: PEER }], claimants: [CLIENT] });
});

test('who enters leaves no database open, also when what others were told could not be deleted', async () => {
  vi.stubGlobal('indexedDB', browser().factory);
  vi.spyOn(Cache.prototype, 'forgetOthers').mockRejectedValueOnce(new Error('no room'));
  const close = vi.spyOn(Database.prototype, 'close');
  const me = { user: ME, name: 'Ana', hide_presence: false };
  expect(await whoEnters({ me: async () => me })).toBe(me);
  expect(close).toHaveBeenCalledOnce();
});

/** Tells which of the browser's tabs live. */
function livenessOf(...clients: readonly ClientId[]): Liveness {
  const living = new Set(clients);
  return {
    take: async (client) => living.add(client) !== undefined,
    leave: (client) => void living.delete(client),
    ifDead: async (client, work) => {
      if (!living.has(client)) await work();
    },
  };
}

test('what a tab that has ended still meant to send another tab sends, and it takes nothing more', async () => {
  const reasons: readonly ByeReason[] = ['logged_out', 'replaced', 'protocol'];
  for (const reason of reasons) {
    const liveness = livenessOf(CLIENT, OTHER, THIRD);
    vi.useFakeTimers({ toFake: ['setInterval'] });
    const ended = await browser().load(CLIENT, { liveness });
    welcome(ended.line);
    ended.page.open(TALK, PEER);
    await ended.page.say(TALK, `before ${reason}`);
    ended.line.says({ type: 'bye', reason });

    const other = await browser().load(OTHER, { liveness });
    expect(texts(other.page)).toContain(`before ${reason}`);

    // What is left by the next one that goes is not for a tab that sends nothing, but for one that
    // does: it looks later.
    const adopt = vi.spyOn(Outbox.prototype, 'adopt');
    await other.page.stop();
    liveness.leave(OTHER);
    await vi.advanceTimersByTimeAsync(60_000);
    const third = await browser().load(THIRD, { liveness });
    expect(texts(third.page)).toContain(`before ${reason}`);
    expect(adopt.mock.calls.map(([, , to]) => to)).toEqual([THIRD]);
    adopt.mockRestore();
    await ended.page.stop();
    vi.useRealTimers();

    // Used again, which loads it anew, it does not send what is another one's now.
    const again = await browser().load(CLIENT, { liveness });
    expect(again.page.state().intents).toEqual([]);
    for (const { page } of [third, again]) await page.stop();
  }
});

test('a tab that wakes to the end of its log-in takes nothing from the next one', async () => {
  const asleep = await browser().load(OTHER);
  welcome(asleep.line);
  const before = await browser().load();
  await before.page.forget();

  const { page, line } = await browser().load();
  welcome(line);
  await until(() => line.of('inbox').length > 0);
  answer(line);
  page.keep();
  await until(async () => (await kept()).entries.length > 0);
  const forgotten = vi.spyOn(Writer.prototype, 'forgetLogIn');
  asleep.line.says({ type: 'bye', reason: 'logged_out' });
  await forgotten.mock.results[0]?.value;
  line.says({ type: 'message', ...theirs(2) }, { type: 'synced', cursor: 'c2' });
  await page.stop();
  expect(await kept()).toMatchObject({ entries: [{ peer: PEER }], claimants: [CLIENT] });
  expect((await (await cache()).claimOf(ME, CLIENT))?.cursor).toBe('c2');
});

test('a tab that another one has logged out writes nothing more, and sends nothing more', async () => {
  const { page, line } = await browser().load();
  welcome(line);
  await until(() => line.of('inbox').length > 0);
  answer(line);
  line.says({ type: 'message', ...theirs(2) });
  page.abandon();
  page.keep();
  line.says({ type: 'message', ...theirs(3) });
  await page.stop();
  expect(await kept()).toEqual({ entries: [], newer: [], claimants: [] });
});

test('only other tabs, and only those of the user, hear that he has logged out', async () => {
  const channels = [1, 2, 3].map(() => new BroadcastChannel('test-farewell'));
  const [own, his, others] = channels.map((channel) => new Farewell(channel));
  const heard: string[] = [];
  own?.hear(ME, () => heard.push('own'));
  his?.hear(ME, () => heard.push('his'));
  others?.hear(PEER, () => heard.push('others'));
  own?.say(ME);
  await until(() => heard.length > 0);
  others?.say(PEER);
  own?.say(ME);
  await until(() => heard.length > 1);
  expect(heard).toEqual(['his', 'his']);
  for (const channel of channels) channel.close();
});
