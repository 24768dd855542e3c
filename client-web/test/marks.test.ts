import { afterEach, expect, test, vi } from 'vitest';
import { Marker, marksDue, type Told } from '../src/core/marks.ts';
import { type Action, reduce } from '../src/core/reducer.ts';
import type { State } from '../src/core/state.ts';
import type { ClientFrame } from '../src/wire.ts';
import { after, entry, heard, idAt, LIVE, loaded, ME, own, pushed, TALK, theirs } from './given.ts';

afterEach(() => {
  vi.useRealTimers();
});

const NOTHING_TOLD: Told = { delivered: new Map(), read: new Map() };
const LOOKING = { visible: true, focused: true, atBottom: true };
const AWAY = { visible: false, focused: false, atBottom: true };

const due = (state: State, attention = LOOKING, told = NOTHING_TOLD) =>
  marksDue(state, attention, told).map(({ type, id }) => [type, id]);

/** The conversation is open and loaded, with two messages of the peer's. */
const OPEN = after(LIVE, ...loaded([theirs(1), theirs(2)]));

test('a message that is seen in the open chat is read, in one mark for all of them', () => {
  expect(due(OPEN)).toEqual([['read', idAt(2)]]);
});

test('a message is only delivered while nobody looks, in each of the ways of not looking', () => {
  for (const missing of ['visible', 'focused', 'atBottom'] as const) {
    expect(due(OPEN, { ...LOOKING, [missing]: false })).toEqual([['delivered', idAt(2)]]);
  }
  expect(due(reduce(OPEN, { type: 'closed' }))).toEqual([['delivered', idAt(2)]]);
});

test("a mark names the newest of the peer's, not one's own that came after it", () => {
  expect(due(reduce(OPEN, pushed(own(9))))).toEqual([['read', idAt(2)]]);
});

test('nothing is marked before the catch-up is over', () => {
  const status = { phase: 'catching_up' } as const;
  expect(due(reduce(OPEN, { type: 'status', status }))).toEqual([]);
});

test('nothing is marked over a hole', () => {
  const holed = reduce(OPEN, pushed(theirs(9, { after: idAt(5) })));
  expect(holed.holes[TALK]).toBe(idAt(5));
  expect(due(holed)).toEqual([]);
});

test('the head of the inbox is delivered but never read, since it was not shown', () => {
  const state = after(LIVE, heard({ type: 'inbox', entries: [entry(7)], more: false }), {
    type: 'opened',
    conversation: TALK,
    peer: 'ben',
  });
  expect(due(state)).toEqual([['delivered', idAt(7)]]);
});

test('a mark that was told is not told again, and one that another tab told neither', () => {
  const told = { ...NOTHING_TOLD, read: new Map([[TALK, idAt(2)]]) };
  expect(due(OPEN, LOOKING, told)).toEqual([]);
  const receipt = { type: 'receipt', conversation: TALK, user: ME, read_up_to: idAt(2) } as const;
  expect(due(reduce(OPEN, heard(receipt)))).toEqual([]);
  expect(due(reduce(OPEN, heard(receipt)), AWAY)).toEqual([]);
});

test('what this tab has shown is told after a reconnect, even when nobody looks any more', () => {
  const seen = reduce(OPEN, { type: 'seen', conversation: TALK, id: idAt(2) });
  expect(due(seen, AWAY)).toEqual([['read', idAt(2)]]);
});

/** A marker in a tab that is looked at, with `count` conversations of which nothing is marked. */
function marker(count: number) {
  const ids = Array.from({ length: count }, (_, i) => `f${i.toString(16).padStart(7, '0')}`);
  const entries = ids.map((conversation, i) => entry(i, { conversation, peer: `p${i}` }));
  const sent: string[] = [];
  let state = after(LIVE, heard({ type: 'inbox', entries, more: false }));
  const host = {
    state: () => state,
    dispatch: (action: Action) => {
      state = reduce(state, action);
    },
    send: (frame: ClientFrame) => 'conversation' in frame && sent.push(frame.conversation) > 0,
  };
  const made = new Marker(host);
  made.attend(LOOKING);
  return { marker: made, ids, sent, dispatch: host.dispatch };
}

test('hundreds of marks go out a hundred at a time, each once', async () => {
  vi.useFakeTimers();
  const { ids, sent } = marker(250);
  await vi.advanceTimersByTimeAsync(100);
  expect(sent).toHaveLength(100);
  await vi.advanceTimersByTimeAsync(10_000);
  expect([...sent].sort()).toEqual([...ids].sort());
});

test('marks for which the server had no room are told again after a while, unless confirmed', async () => {
  vi.useFakeTimers();
  const { marker: refusing, sent, ids, dispatch } = marker(3);
  await vi.advanceTimersByTimeAsync(100);
  expect(sent.splice(0)).toEqual(ids);
  const [first = '', second, third] = ids;
  const receipt = { type: 'receipt', conversation: first, user: ME } as const;
  dispatch(heard({ ...receipt, delivered_up_to: idAt(0) }));
  for (const _ of [second, third]) refusing.refused(1000);
  // What happens meanwhile does not bring it forward.
  refusing.consider();
  await vi.advanceTimersByTimeAsync(999);
  expect(sent).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(sent).toEqual([second, third]);
});
