/** What is read to who cannot see the page: all that is new, and nothing else. */

import { expect, test } from 'vitest';
import { type Action, reduce } from '../src/core/reducer.ts';
import type { State } from '../src/core/state.ts';
import { Ears, saidOf } from '../src/pages/Announcer.tsx';
import {
  after,
  heard,
  idAt,
  LIVE,
  loaded,
  ME,
  NOW,
  own,
  pushed,
  STORE,
  TALK,
  theirs,
} from './given.ts';

const welcomed = (ms: number) =>
  heard({
    ...{ type: 'welcome', user: ME, node: 'n1', store: STORE, now: NOW + ms },
    ...{ addresses: [], text_bytes: 65_536, watches: 1 },
  });
const CATCHING_UP: Action = { type: 'status', status: { phase: 'catching_up' } };
const RESET = heard({ type: 'reset', cursor: 'c2' });

/** Gives the state of a page that is live, after all this. */
const begun = (...actions: readonly Action[]) => after(welcomed(100), LIVE, ...actions);
const words = (state: State, ears = new Ears()) => ears.hear(state).map(({ text }) => text);
const readTo = (ms: number) =>
  heard({ type: 'receipt', conversation: TALK, user: ME, read_up_to: idAt(ms) });

test('the history of a chat that is opened is not announced, however late it is loaded', () => {
  const old = [theirs(1), theirs(99)];
  expect(words(begun(...loaded(old)))).toEqual([]);
  expect(words(begun(pushed(theirs(99))))).toEqual([]);
  expect(words(begun(pushed(theirs(101)), RESET, ...loaded(old)))).toEqual([]);
});

test('what was read is not announced when older pages of it are loaded, as after a cut', () => {
  const ears = new Ears();
  let state = begun(...loaded([theirs(103)], true), readTo(103));
  expect(words(state, ears)).toEqual([]);
  const messages = [theirs(102), theirs(101)];
  const older = { type: 'cached', conversation: TALK, messages, from: '' } as const;
  state = reduce(state, { ...older, before: idAt(103) });
  expect(state.conversations[TALK]?.thread).toHaveLength(3);
  expect(words(state, ears)).toEqual([]);
  state = reduce(state, pushed(theirs(104)));
  expect(words(state, ears)).toEqual(['theirs 104']);
});

test('what this tab had shown is not announced when it is loaded again after a reset', () => {
  const ears = new Ears();
  const seen: Action = { type: 'seen', conversation: TALK, id: idAt(103) };
  const before = begun(...loaded([theirs(103)], true), seen, RESET);
  expect(words(before, ears)).toEqual([]);
  const shown = [theirs(101), theirs(102), theirs(103), theirs(104)];
  expect(words(loaded(shown).reduce(reduce, before), ears)).toEqual(['theirs 104']);
});

test('what is read the moment it comes is announced', () => {
  const ears = new Ears();
  const before = begun(...loaded([theirs(1)]));
  expect(words(before, ears)).toEqual([]);
  const comes: readonly Action[] = [
    pushed(theirs(101)),
    { type: 'seen', conversation: TALK, id: idAt(101) },
  ];
  expect(words(comes.reduce(reduce, before), ears)).toEqual(['theirs 101']);
});

test('of several messages that arrive at once each is announced, and only once', () => {
  const ears = new Ears();
  const first = [pushed(theirs(101)), pushed(own(102)), pushed(theirs(103))];
  expect(words(begun(...first), ears)).toEqual(['theirs 101', 'theirs 103']);
  // Pushed late, stamped anew, and edited.
  const edit = { edit: idAt(105), text: 'edited' };
  const then = [
    pushed(theirs(100)),
    pushed(theirs(103, { id: idAt(104, 103) })),
    pushed(theirs(101, edit)),
  ];
  expect(words(begun(...first, ...then), ears)).toEqual(['theirs 100']);
});

test('what was deleted before it could be announced is not', () => {
  const gone = theirs(101, { deleted: true, text: '' });
  expect(words(begun(pushed(gone)))).toEqual([]);
});

/** Lets the state go through `actions`, and gives what is heard after each of them. */
function hearing(ears: Ears, from: State, actions: readonly Action[]): readonly string[][] {
  let state = from;
  return actions.map((action) => {
    state = reduce(state, action);
    return words(state, ears);
  });
}

test('what came while the connection was away is announced at the end of the catch-up, as it is then', () => {
  const edited = { edit: idAt(300), text: 'edited' };
  const actions = [
    CATCHING_UP,
    welcomed(900),
    pushed(theirs(200)),
    pushed(theirs(201)),
    pushed(theirs(202)),
    heard({ type: 'deleted', conversation: TALK, id: idAt(201) }),
    heard({ type: 'edited', conversation: TALK, id: idAt(202), ...edited }),
    LIVE,
  ];
  const said = hearing(new Ears(), begun(), actions);
  expect(said.slice(0, -1).flat()).toEqual([]);
  expect(said.at(-1)).toEqual(['theirs 200', 'edited']);
});

test('what came while the connection was away and was read elsewhere is not announced', () => {
  const actions = [
    CATCHING_UP,
    welcomed(900),
    pushed(theirs(200)),
    pushed(theirs(201)),
    readTo(200),
    LIVE,
  ];
  expect(hearing(new Ears(), begun(), actions).flat()).toEqual(['theirs 201']);
});

test('of very many messages that come at once the number is announced', () => {
  const missed = Array.from({ length: 6 }, (_, n) => theirs(200 + n));
  const ears = new Ears();
  hearing(ears, begun(), [CATCHING_UP, ...missed.map(pushed)]);
  const fresh = ears.hear(begun(...missed.map(pushed)));
  expect(saidOf(fresh, (user) => user).map(({ text }) => text)).toEqual(['6 new messages']);
  expect(saidOf(fresh.slice(4), () => 'Ben').map(({ text }) => text)).toEqual([
    'Ben: theirs 204',
    'Ben: theirs 205',
  ]);
});
