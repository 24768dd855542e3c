/** What is read to who cannot see the page: all that is new, and nothing else. */

import { expect, test } from 'vitest';
import type { State } from '../src/core/state.ts';
import { arrived } from '../src/core/views.ts';
import { saidOf, unheard } from '../src/pages/Announcer.tsx';
import { after, heard, idAt, loaded, ME, NOW, own, pushed, STORE, theirs } from './given.ts';

const WELCOME = heard({
  ...{ type: 'welcome', user: ME, node: 'n1', store: STORE, now: NOW + 100 },
  ...{ addresses: [], text_bytes: 65_536, watches: 1 },
});
const words = (state: State, ears = new Set<string>()) =>
  unheard(arrived(state), ears).map(({ text }) => text);

test('the history of a chat that is opened is not announced, however late it is loaded', () => {
  const old = [theirs(1), theirs(99)];
  expect(words(after(WELCOME, ...loaded(old)))).toEqual([]);
  expect(words(after(WELCOME, pushed(theirs(99))))).toEqual([]);
  const reset = heard({ type: 'reset', cursor: 'c2' });
  expect(words(after(WELCOME, pushed(theirs(101)), reset, ...loaded(old)))).toEqual([]);
});

test('of several messages that arrive at once each is announced, and only once', () => {
  const ears = new Set<string>();
  const first = [WELCOME, pushed(theirs(101)), pushed(own(102)), pushed(theirs(103))];
  expect(words(after(...first), ears)).toEqual(['theirs 101', 'theirs 103']);
  // Pushed late, stamped anew, and edited.
  const edit = { edit: idAt(105), text: 'edited' };
  const then = [
    pushed(theirs(100)),
    pushed(theirs(103, { id: idAt(104, 103) })),
    pushed(theirs(101, edit)),
  ];
  expect(words(after(...first, ...then), ears)).toEqual(['theirs 100']);
});

test('what was deleted before it could be announced is not', () => {
  const gone = theirs(101, { deleted: true, text: '' });
  expect(words(after(WELCOME, pushed(gone)))).toEqual([]);
});

test('what came while the connection was away is announced, and of very many messages the number', () => {
  const again = heard({
    ...{ type: 'welcome', user: ME, node: 'n2', store: STORE, now: NOW + 900 },
    ...{ addresses: [], text_bytes: 65_536, watches: 1 },
  });
  const missed = Array.from({ length: 6 }, (_, n) => pushed(theirs(200 + n)));
  const state = after(WELCOME, again, ...missed);
  expect(words(state)).toHaveLength(6);
  const said = saidOf(unheard(arrived(state), new Set()), (user) => user);
  expect(said.map(({ text }) => text)).toEqual(['6 new messages']);
  expect(saidOf(arrived(state).slice(4), () => 'Ben').map(({ text }) => text)).toEqual([
    'Ben: theirs 204',
    'Ben: theirs 205',
  ]);
});
