/** Threads in a tab that stays open for days: what is cut off them, and how it comes back. */

import { expect, test, vi } from 'vitest';
import { KEPT_OF_LONGER, LONGEST_WINDOW, unread } from '../src/core/conversation.ts';
import { type Action, reduce } from '../src/core/reducer.ts';
import type { Conversation, State } from '../src/core/state.ts';
import { newest } from '../src/core/thread.ts';
import { inboxOf, unreadInAll } from '../src/core/views.ts';
import { answer, browserOfEachTest, texts, welcome } from './browser.ts';
import {
  after,
  entry,
  heard,
  idAt,
  LIVE,
  loaded,
  ME,
  own,
  PEER,
  pushed,
  sending,
  TALK,
  theirs,
  until,
} from './given.ts';

const browser = browserOfEachTest();

const LENGTH = LONGEST_WINDOW + 100;
const LONG = Array.from({ length: LENGTH }, (_, i) => (i % 2 ? own(i + 1) : theirs(i + 1)));
const CUT: Action = { type: 'cut', but: undefined };

const readTo = (ms: number) =>
  heard({ type: 'receipt', conversation: TALK, user: ME, read_up_to: idAt(ms) });
const talk = (state: State) => state.conversations[TALK] as Conversation;

test('of a long thread the newest are left, and it is known where they begin', () => {
  const state = after(LIVE, ...loaded(LONG), readTo(LENGTH - 5), CUT);
  const { thread, from } = talk(state);
  expect(thread).toEqual(LONG.slice(-KEPT_OF_LONGER));
  expect(from).toBe(thread[0]?.id);
  expect(unread(talk(state), ME)).toBe(2);
  // What is said of the messages that are left goes on as before.
  const more = [pushed(theirs(LENGTH + 1, { after: idAt(LENGTH) })), pushed(theirs(1))];
  const then = more.reduce(reduce, state);
  expect(then.holes).toEqual({});
  expect(newest(talk(then).thread)?.id).toBe(idAt(LENGTH + 1));
  expect(talk(then).thread[0]).toEqual(thread[0]);
  expect(unread(talk(then), ME)).toBe(3);
});

/** Pushes all of a chat that was not opened, and that the inbox may count up to its first message. */
const unopened = (isCounted: boolean, ...actions: readonly Action[]) => {
  const inbox: Action = { type: 'restored', entries: [entry(1)], newer: [], from: '' };
  return after(LIVE, ...(isCounted ? [inbox] : []), ...LONG.map(pushed), ...actions);
};

test('of a chat that was never opened what is read is cut, and its line and its count stay', () => {
  for (const isCounted of [true, false]) {
    for (const [read, first, count] of [
      [LENGTH - 5, LENGTH - KEPT_OF_LONGER, 2],
      // What is not read stays, however much it is; every other one is the peer's.
      [50, 50, (LENGTH - 50) / 2],
    ] as const) {
      const before = unopened(isCounted, readTo(read));
      const state = reduce(before, CUT);
      expect(talk(state).thread).toEqual(LONG.slice(first));
      expect(inboxOf(state)).toEqual(inboxOf(before));
      expect(unreadInAll(state)).toBe(count);
      // When it is opened it begins with a page, as any other one.
      const opened = loaded(LONG.slice(-KEPT_OF_LONGER - 50), true).reduce(reduce, state);
      expect(talk(opened).thread).toEqual(LONG.slice(-KEPT_OF_LONGER - 50));
    }
    const allUnread = unopened(isCounted);
    expect(reduce(allUnread, CUT)).toBe(allUnread);
  }
});

test('nothing is cut that is counted, changed, read back, or not much', () => {
  const all = readTo(LENGTH);
  const cases: readonly (readonly [Action[], Action])[] = [
    [[...loaded(LONG), readTo(1)], CUT],
    [[...loaded(LONG), all, { type: 'intents', intents: [sending(LENGTH + 1)] }], CUT],
    [[...loaded(LONG), all], { type: 'cut', but: TALK }],
    [[...loaded(LONG.slice(-LONGEST_WINDOW)), all], CUT],
  ];
  for (const [before, cut] of cases) {
    const state = after(LIVE, ...before);
    expect(reduce(state, cut)).toBe(state);
  }
});

// It has a time limit of its own: the database takes long for so many.
test('who reads back finds what was cut, as it is now, without asking the server', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] });
  const { page, line } = await browser().load();
  welcome(line);
  page.open(TALK, PEER);
  await until(() => line.of('inbox').length > 0 && line.of('history').length > 0);
  answer(line);
  for (const message of LONG.slice(1)) line.says({ type: 'message', ...message });
  const read = { type: 'receipt', conversation: TALK, user: ME, read_up_to: idAt(LENGTH) } as const;
  line.says(read);
  page.attend({ visible: true, focused: true, atBottom: false });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(texts(page)).toHaveLength(LENGTH);

  page.attend({ visible: true, focused: true, atBottom: true });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(texts(page)).toHaveLength(KEPT_OF_LONGER);
  vi.useRealTimers();
  const edited = { edit: idAt(LENGTH + 9), text: 'edited since' };
  line.says({ type: 'edited', conversation: TALK, id: idAt(2), ...edited });

  while (texts(page).length < LENGTH) {
    const before = texts(page).length;
    page.older(TALK);
    await vi.waitFor(() => expect(texts(page).length).toBeGreaterThan(before), 5000);
  }
  expect(texts(page).slice(0, 3)).toEqual(['theirs 1', 'edited since', 'theirs 3']);
  expect(line.of('history')).toHaveLength(1);
  expect(unreadInAll(page.state())).toBe(0);
}, 60_000);
