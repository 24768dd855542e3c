/** The whole client against a server that is the test: what is written, and what a reload keeps. */

import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Client } from '../src/core/client.ts';
import type { Socket } from '../src/core/connection.ts';
import { Cache } from '../src/core/store/cache.ts';
import { openDatabase } from '../src/core/store/idb.ts';
import { Journal } from '../src/core/store/journal.ts';
import { Outbox } from '../src/core/store/outbox.ts';
import type { Liveness } from '../src/core/tabs.ts';
import { threadOf } from '../src/core/views.ts';
import type { ClientFrame, Send, ServerFrame } from '../src/wire.ts';
import {
  CLIENT,
  entry,
  idAt,
  ME,
  NOW,
  own,
  PEER,
  STORE,
  storage,
  TALK,
  theirs,
  until,
} from './given.ts';

globalThis.IDBKeyRange = IDBKeyRange;

/** No other tab lives here. */
const ALONE: Liveness = { take: async () => true, ifDead: (_, work) => work() };

class Line implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly heard: ClientFrame[] = [];

  send(text: string): void {
    this.heard.push(JSON.parse(text));
  }

  close(): void {}

  says(...frames: readonly ServerFrame[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** Gives what was heard of one type. */
  of<T extends ClientFrame['type']>(type: T): Extract<ClientFrame, { type: T }>[] {
    return this.heard.filter((frame) => frame.type === type) as never;
  }
}

let browser: IDBFactory;
let pages: Client[];

beforeEach(() => {
  browser = new IDBFactory();
  pages = [];
});

afterEach(async () => {
  for (const page of pages) await page.stop();
});

/** Loads the page: a new client on what the browser has kept. */
async function load(client = CLIENT): Promise<{ page: Client; line: Line }> {
  const lines: Line[] = [];
  const database = await openDatabase(browser);
  const page = new Client({
    user: ME,
    client,
    api: {
      discover: async () => ({ address: 'ws://x/ws', node: 'n1', ticket: 't' }),
      know: () => {},
    },
    open: () => {
      const line = new Line();
      lines.push(line);
      return line;
    },
    cache: new Cache(database),
    outbox: new Outbox(database, new Journal(storage())),
    liveness: ALONE,
    notice: (text) => {
      throw new Error(text);
    },
    otherUser: () => {},
  });
  pages.push(page);
  await page.start();
  await until(() => lines.length === 1);
  const line = lines[0] as Line;
  line.onopen?.();
  return { page, line };
}

/** The server welcomes the page and has nothing new. */
function welcome(line: Line): void {
  line.says(
    {
      ...{ type: 'welcome', user: ME, node: 'n1', store: STORE, now: NOW },
      ...{ addresses: [], text_bytes: 65_536, watches: 1 },
    },
    { type: 'synced', cursor: 'c1' },
  );
}

/** The server knows one conversation, and answers what is asked about it. */
function answer(line: Line): void {
  for (const { ref } of line.of('inbox')) {
    line.says({ type: 'inbox', ref, entries: [entry(1)], more: false });
  }
  for (const { ref } of line.of('history')) {
    line.says({ type: 'history', ref, conversation: TALK, messages: [theirs(1)], more: false });
  }
}

const texts = (page: Client) => threadOf(page.state(), TALK).map(({ text }) => text);
const bare = ({ ref, text, at, n }: Send) => ({ ref, text, at, n });

test('what was not acknowledged before a reload is sent again: same ref, stamp and text', async () => {
  const first = await load();
  welcome(first.line);
  answer(first.line);
  first.page.open(TALK, PEER);
  await first.page.say(TALK, 'hello');
  await first.page.say(TALK, 'again');
  await until(() => first.line.of('send').length === 2);
  const sent = first.line.of('send');
  expect(sent.map(({ retry }) => retry)).toEqual([undefined, undefined]);
  await first.page.stop();

  const second = await load();
  expect(texts(second.page)).toEqual(['hello', 'again']);
  welcome(second.line);
  await until(() => second.line.of('send').length === 2);
  expect(second.line.of('send').map(bare)).toEqual(sent.map(bare));
  expect(second.line.of('send').map(({ retry }) => retry)).toEqual([true, true]);
});

test('what was written without a connection waits, survives a reload, and goes out in order', async () => {
  const first = await load();
  first.page.open(TALK, PEER);
  for (const text of ['one', 'two', 'three']) await first.page.say(TALK, text);
  expect(first.line.of('send')).toEqual([]);
  await first.page.stop();

  const second = await load();
  welcome(second.line);
  await until(() => second.line.of('send').length === 3);
  const sent = second.line.of('send');
  expect(sent.map(({ text }) => text)).toEqual(['one', 'two', 'three']);
  expect(sent.map(({ retry }) => retry)).toEqual([undefined, undefined, undefined]);
  const stamps = sent.map(({ at, n }) => at * 4096 + n);
  expect(stamps).toEqual([...stamps].sort((one, other) => one - other));
  expect(new Set(stamps).size).toBe(3);
});

test('an acknowledged message is not sent again after a reload', async () => {
  const first = await load();
  welcome(first.line);
  first.page.open(TALK, PEER);
  await first.page.say(TALK, 'hello');
  await until(() => first.line.of('send').length === 1);
  const ref = first.line.of('send')[0]?.ref ?? '';
  first.line.says({ type: 'ack', ref, conversation: TALK, id: idAt(5) });
  expect(first.page.state().intents).toEqual([]);
  const outbox = new Outbox(await openDatabase(browser), new Journal(storage()));
  await until(async () => (await outbox.of(ME, CLIENT)).length === 0);
  await first.page.stop();

  const second = await load();
  welcome(second.line);
  second.page.open(TALK, PEER);
  await second.page.say(TALK, 'only this');
  await until(() => second.line.of('send').length > 0);
  expect(second.line.of('send').map(({ text }) => text)).toEqual(['only this']);
});

test('what the catch-up confirmed and the server then refused is given up, and holds nothing', async () => {
  const first = await load();
  welcome(first.line);
  first.page.open(TALK, PEER);
  await first.page.say(TALK, 'one');
  await until(() => first.line.of('send').length === 1);
  await first.page.stop();

  // The reload sends it again; its first attempt turns up in the catch-up before the answer.
  const { page, line } = await load();
  welcome(line);
  await until(() => line.of('send').length === 1);
  const ref = line.of('send')[0]?.ref as string;
  line.says({ type: 'message', ...own(1, { ref, text: 'one' }) });
  const busy = { type: 'error', code: 'busy', text: 'busy', retry: true } as const;
  line.says({ ...busy, ref });
  await until(() => line.of('forget').length === 1);
  expect(line.of('forget')).toEqual([{ type: 'forget', ref, conversation: TALK }]);

  // An answer that comes after an ack is about nothing that is open.
  await page.say(TALK, 'two');
  await until(() => line.of('send').length === 2);
  const two = line.of('send')[1]?.ref as string;
  line.says({ type: 'ack', ref: two, conversation: TALK, id: idAt(2) }, { ...busy, ref: two });
  await page.say(TALK, 'three');
  await until(() => line.of('send').length === 3);
  expect(line.of('forget')).toHaveLength(1);
});

test('an answer goes out above what it answers', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await until(() => line.of('history').length > 0);
  answer(line);
  const ahead = theirs(4000, { text: 'from a faster clock' });
  line.says({ type: 'message', ...ahead });
  await page.say(TALK, 'answer');
  await until(() => line.of('send').length === 1);
  const [send] = line.of('send');
  expect(send?.after).toBe(ahead.id);
  expect(send?.at).toBeGreaterThanOrEqual(NOW + 4000);
  expect(texts(page)).toEqual(['theirs 1', 'from a faster clock', 'answer']);
});

test('a stamp that the server calls too old is made anew, under the same ref', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'late');
  await until(() => line.of('send').length === 1);
  const [first] = line.of('send');
  const now = NOW + 60_000;
  const error = { type: 'error', code: 'clock', text: 'too old', retry: true, now } as const;
  line.says({ ...error, ref: first?.ref ?? '' });
  await until(() => line.of('send').length === 2);
  const again = line.of('send')[1];
  expect(again).toMatchObject({ ref: first?.ref, text: 'late' });
  expect(again?.at).toBeGreaterThanOrEqual(now);
  expect(again?.retry).toBeUndefined();
});

test('what follows a message that is stamped anew is stamped above it, attempted or not', async () => {
  const first = await load();
  welcome(first.line);
  answer(first.line);
  first.page.open(TALK, PEER);
  for (const text of ['one', 'two']) await first.page.say(TALK, text);
  await until(() => first.line.of('send').length === 2);
  await first.page.stop();

  const { line } = await load();
  welcome(line);
  await until(() => line.of('send').length === 2);
  const [one, two] = line.of('send');
  const now = NOW + 20_000;
  const refused = { type: 'error', text: '', retry: true } as const;
  line.says(
    { ...refused, code: 'expired', ref: one?.ref as string, now },
    { ...refused, code: 'held', ref: two?.ref as string },
  );
  await until(() => line.of('send').length === 4);
  const again = line.of('send').slice(2);
  expect(again.map(({ ref }) => ref)).toEqual([one?.ref, two?.ref]);
  expect(again.map(({ retry }) => retry)).toEqual([undefined, undefined]);
  const [before, after] = again.map(({ at, n }) => at * 4096 + n);
  expect(after).toBeGreaterThan(before as number);
});

test('what is refused for good is shown with its reason, and tried again as something new', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'hello?');
  await until(() => line.of('send').length === 1);
  const ref = line.of('send')[0]?.ref ?? '';
  line.says({ type: 'error', code: 'unreachable', text: 'not reachable', ref, retry: false });
  await until(() => threadOf(page.state(), TALK)[0]?.tick === 'failed');
  expect(threadOf(page.state(), TALK)[0]?.failure?.text).toBe('not reachable');
  await page.again(ref);
  await until(() => line.of('send').length === 2);
  expect(line.of('send')[1]?.ref).not.toBe(ref);
  expect(texts(page)).toEqual(['hello?']);
});

test('what a closed tab left is sent by another one', async () => {
  const first = await load();
  first.page.open(TALK, PEER);
  await first.page.say(TALK, 'left behind');
  await first.page.stop();
  const other = await load('00000000-0000-4000-8000-00000000beef');
  welcome(other.line);
  await until(() => other.line.of('send').length === 1);
  expect(other.line.of('send')[0]?.text).toBe('left behind');
});

test('exactly who is on the screen is watched, the open chat first where not all may be', async () => {
  const { page, line } = await load();
  welcome(line);
  await until(() => line.of('inbox').length > 0);
  const carl = 'f0000000-0000-5000-8000-000000000000';
  line.says({
    type: 'inbox',
    ref: line.of('inbox')[0]?.ref ?? '',
    entries: [entry(2, { conversation: carl, peer: 'carl' }), entry(1)],
    more: false,
  });
  page.look(['carl', PEER, 'stranger', ME]);
  expect(line.of('watch').map(({ user }) => user)).toEqual(['carl']);
  page.open(TALK, PEER);
  expect(line.of('unwatch').map(({ user }) => user)).toEqual(['carl']);
  expect(line.of('watch').map(({ user }) => user)).toEqual(['carl', PEER]);
});

test('another user’s welcome ends the session before anything of his is taken in', async () => {
  const { page, line } = await load();
  line.says({
    ...{ type: 'welcome', user: PEER, node: 'n1', store: STORE, now: NOW },
    ...{ addresses: [], text_bytes: 65_536, watches: 1 },
  });
  line.says({ type: 'message', ...theirs(1) });
  expect(page.state().conversations).toEqual({});
});
