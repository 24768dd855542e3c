/** The whole client against a server that is the test: what is written, and what a reload keeps. */

import { expect, test, vi } from 'vitest';
import type { Client } from '../src/core/client.ts';
import { ceilingOf } from '../src/core/ids.ts';
import { openDatabase } from '../src/core/store/idb.ts';
import { Journal } from '../src/core/store/journal.ts';
import { Outbox } from '../src/core/store/outbox.ts';
import { threadOf, unreadInAll } from '../src/core/views.ts';
import type { Send } from '../src/wire.ts';
import { answer, browserOfEachTest, type Line, texts, welcome } from './browser.ts';
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

const browser = browserOfEachTest();

const load = (client?: string) => browser().load(client);
const ticks = (page: Client) => threadOf(page.state(), TALK).map(({ tick }) => tick);
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
  const outbox = new Outbox(await openDatabase(browser().factory), new Journal(storage()));
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

test('a chat beyond the loaded inbox has its ticks and its count asked for, once', async () => {
  const { page, line } = await load();
  welcome(line);
  await until(() => line.of('inbox').length === 1);
  line.says({ type: 'inbox', ref: line.of('inbox')[0]?.ref as string, entries: [], more: true });
  page.open(TALK, PEER);
  await until(() => line.of('history').length === 1);
  const { ref } = line.of('history')[0] as { ref: string };
  const messages = [own(3), theirs(2), own(1)];
  line.says({ type: 'history', ref, conversation: TALK, messages, more: false });
  expect(ticks(page)).toEqual(['sent', undefined, 'sent']);

  const question = line.of('inbox')[1];
  expect(question).toMatchObject({ before: ceilingOf(idAt(3)), limit: 1 });
  const head = { id: idAt(3), sender: ME, preview: 'own 3' };
  const marks = { read_up_to: idAt(2), peer_read_up_to: idAt(1), peer_delivered_up_to: idAt(3) };
  const told = entry(3, { head, unread: 0, ...marks });
  line.says({ type: 'inbox', ref: question?.ref as string, entries: [told], more: true });
  expect(ticks(page)).toEqual(['read', undefined, 'delivered']);
  expect(unreadInAll(page.state())).toBe(0);
  line.says({ type: 'message', ...theirs(4) });
  expect(line.of('inbox')).toHaveLength(2);
});

test('a push into a chat that is not known has its count asked for', async () => {
  const { page, line } = await load();
  welcome(line);
  await until(() => line.of('inbox').length === 1);
  // The first page of the inbox may tell; before it comes nothing else is asked.
  line.says({ type: 'message', ...theirs(5) });
  expect(line.of('inbox')).toHaveLength(1);
  line.says({ type: 'inbox', ref: line.of('inbox')[0]?.ref as string, entries: [], more: true });
  line.says({ type: 'message', ...theirs(6) });
  const [, question] = line.of('inbox');
  const told = entry(6, { unread: 4 });
  line.says({ type: 'inbox', ref: question?.ref as string, entries: [told], more: true });
  expect(unreadInAll(page.state())).toBe(4);
});

test('what is meant comes before what is kept: it is stored, and the messages are loaded anew', async () => {
  const database = await openDatabase(browser().factory);
  const outbox = new Outbox(database, new Journal(storage()));
  const put = vi.spyOn(outbox, 'put');
  const { page, lines } = await browser().load(CLIENT, { outbox });
  const [line] = lines as [Line];
  welcome(line);
  answer(line);
  put.mockRejectedValueOnce(new DOMException('full', 'QuotaExceededError'));
  page.open(TALK, PEER);
  await page.say(TALK, 'hello');
  expect((await outbox.of(ME, CLIENT)).map((intent) => 'text' in intent && intent.text)).toEqual([
    'hello',
  ]);
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  page.wake();
  await until(() => lines.length === 2);
  lines[1]?.onopen?.();
  expect(lines[1]?.of('hello')).toMatchObject([{ client: CLIENT }]);
  expect(lines[1]?.of('hello')[0]).not.toHaveProperty('cursor');
});
