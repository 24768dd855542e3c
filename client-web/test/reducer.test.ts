import { expect, test } from 'vitest';
import { unread } from '../src/core/conversation.ts';
import { ceilingOf } from '../src/core/ids.ts';
import { type Action, reduce } from '../src/core/reducer.ts';
import type { State } from '../src/core/state.ts';
import { inboxOf, threadOf, unreadInAll } from '../src/core/views.ts';
import type { InboxEntry, Receipt, ServerFrame } from '../src/wire.ts';
import {
  ASKED,
  after,
  entry,
  fixture,
  heard,
  idAt,
  LIVE,
  loaded,
  ME,
  orders,
  own,
  PEER,
  page,
  pushed,
  refOf,
  sending,
  TALK,
  theirs,
} from './given.ts';

const texts = (state: State) => threadOf(state, TALK).map(({ text }) => text);
const ticks = (state: State) => threadOf(state, TALK).map(({ tick }) => tick);
const talk = (state: State) => {
  const held = state.conversations[TALK];
  if (held === undefined) throw new Error('no conversation');
  return held;
};
const receipt = (user: string, marks: Partial<Receipt>) =>
  heard({ type: 'receipt', conversation: TALK, user, ...marks });
const inbox = (...entries: ReturnType<typeof entry>[]) =>
  heard({ type: 'inbox', entries, more: false });

test('every golden frame is taken without harm, and no state is changed in place', () => {
  const frozen = (state: State): State => {
    for (const value of Object.values(state)) Object.freeze(value);
    return Object.freeze(state);
  };
  const frames = fixture<ServerFrame[]>('server_frames.json');
  const end = frames.map(heard).reduce((state, action) => frozen(reduce(state, action)), after());
  expect(Object.keys(end.conversations)).toEqual([]);
  const beforeReset = frames.slice(
    0,
    frames.findIndex(({ type }) => type === 'reset'),
  );
  expect(after(...beforeReset.map(heard)).conversations[TALK]?.thread).toHaveLength(1);
});

test('messages, an edit and a deletion give one thread in whatever order they come', () => {
  const held = after(...loaded([theirs(1), theirs(2), own(3)]));
  const changes = [
    heard({ type: 'edited', conversation: TALK, id: idAt(1), edit: idAt(8), text: 'first' }),
    heard({ type: 'edited', conversation: TALK, id: idAt(1), edit: idAt(9), text: 'second' }),
    heard({ type: 'deleted', conversation: TALK, id: idAt(2) }),
    pushed(theirs(4)),
    pushed(own(5)),
  ];
  for (const order of orders(changes)) {
    const state = order.reduce(reduce, held);
    expect(texts(state)).toEqual(['second', '', 'own 3', 'theirs 4', 'own 5']);
  }
});

test('an edit that overtakes the page it belongs to is not lost', () => {
  const edit = heard({
    type: 'edited',
    conversation: TALK,
    id: idAt(1),
    edit: idAt(9),
    text: 'edited',
  });
  const gone = heard({ type: 'deleted', conversation: TALK, id: idAt(2) });
  const state = after(inbox(entry(3)), ASKED, edit, gone, page([theirs(1), theirs(2), theirs(3)]));
  expect(texts(state)).toEqual(['edited', '', 'theirs 3']);
});

test('an acknowledged message keeps its place and is there once, pushed before or after', () => {
  const intents = { type: 'intents', intents: [sending(5)] } as const;
  const ack = heard({ type: 'ack', ref: refOf(5), conversation: TALK, id: idAt(5) });
  const push = pushed(own(5, { text: 'sending 5' }));
  for (const order of [[ack], [push], [ack, push], [push, ack]]) {
    const state = after(...loaded([theirs(1)]), intents, ...order);
    expect(texts(state)).toEqual(['theirs 1', 'sending 5']);
    expect(ticks(state)).toEqual([undefined, 'sent']);
    expect(state.intents).toEqual([]);
  }
});

test('what waits is shown at its place, and keeps its key when it is confirmed', () => {
  const before = after(ASKED, { type: 'intents', intents: [sending(5)] }, page([theirs(1)]));
  expect(ticks(before)).toEqual([undefined, 'pending']);
  const ack = heard({ type: 'ack', ref: refOf(5), conversation: TALK, id: idAt(5) });
  const keys = (state: State) => threadOf(state, TALK).map(({ key }) => key);
  expect(keys(reduce(before, ack))).toEqual(keys(before));
});

test('refs that the peer uses again double no message and hide none', () => {
  const [mine, pending] = [own(1), sending(5)];
  const again = [theirs(2, { ref: mine.ref }), theirs(3, { ref: pending.ref })];
  const twin = theirs(3, { id: idAt(4, 3), ref: pending.ref });
  const waits: Action = { type: 'intents', intents: [pending] };
  const state = after(LIVE, ...loaded([mine, ...again]), waits);
  const shown = threadOf(state, TALK);
  expect(shown.map(({ text }) => text)).toEqual(['own 1', 'theirs 2', 'theirs 3', 'sending 5']);
  expect(new Set(shown.map(({ key }) => key)).size).toBe(4);
  // Stamped anew it is still the same one.
  const stamped = threadOf(reduce(state, pushed(twin)), TALK);
  expect(stamped.map(({ key }) => key)).toEqual(shown.map(({ key }) => key));
});

test('an acknowledged edit gives way to a larger one, and does not undo it', () => {
  const mine = { ...sending(5), kind: 'edit', target: idAt(3), text: 'mine' } as const;
  const state = after(
    ...loaded([own(3)]),
    { type: 'intents', intents: [mine] },
    heard({ type: 'edited', conversation: TALK, id: idAt(3), edit: idAt(6), text: 'other tab' }),
    heard({ type: 'ack', ref: mine.ref, conversation: TALK, id: idAt(3) }),
  );
  expect(texts(state)).toEqual(['other tab']);
});

test('marks only move forward, in whatever order they come', () => {
  const marks = [
    receipt(PEER, { delivered_up_to: idAt(2) }),
    receipt(PEER, { read_up_to: idAt(1) }),
    receipt(PEER, { read_up_to: idAt(2), delivered_up_to: idAt(2) }),
    receipt(PEER, { delivered_up_to: idAt(1) }),
  ];
  for (const order of orders(marks)) {
    const state = after(pushed(own(1)), pushed(own(2)), pushed(own(3)), ...order);
    expect(ticks(state)).toEqual(['read', 'read', 'sent']);
  }
});

test('what was read counts as delivered', () => {
  const state = after(pushed(own(1)), receipt(PEER, { read_up_to: idAt(1) }));
  expect(talk(state).peerDeliveredUpTo).toBe(idAt(1));
});

test('a receipt about an unknown conversation creates nothing', () => {
  expect(after(receipt(PEER, { read_up_to: idAt(1) })).conversations).toEqual({});
});

test('what another tab read clears the badge of this one', () => {
  const state = after(inbox(entry(2, { unread: 2 })), pushed(theirs(3)));
  expect(unreadInAll(state)).toBe(3);
  expect(unreadInAll(reduce(state, receipt(ME, { read_up_to: idAt(3) })))).toBe(0);
});

test('unread is the same by the count of the server and by the messages held', () => {
  const counted = after(inbox(entry(3, { unread: 2, read_up_to: idAt(1) })));
  const held = reduce(reduce(counted, ASKED), page([theirs(1), theirs(2), theirs(3)]));
  expect(unread(talk(counted), ME)).toBe(2);
  expect(unread(talk(held), ME)).toBe(2);
});

test('what was pushed below the head before the count was told is counted', () => {
  const state = after(pushed(theirs(1)), inbox(entry(2, { unread: 0 })));
  expect(unread(talk(state), ME)).toBe(1);
});

test('a message below the head is asked for again where an answer may lack it', () => {
  const about = (before: string) =>
    ({ about: 'inbox', only: TALK, before: ceilingOf(before) }) as const;
  const asked = (before: string) =>
    ({ type: 'asked', ref: refOf(5), question: about(before) }) as const;
  const told = (...entries: InboxEntry[]) =>
    heard({ type: 'inbox', ref: refOf(5), entries, more: false });
  const known = [inbox(entry(9, { unread: 5, read_up_to: idAt(1) })), pushed(theirs(4))];
  // Counted after it came.
  const counted = told(entry(9, { unread: 6, read_up_to: idAt(1) }));
  expect(talk(after(...known, asked(idAt(9)), counted)).recount).toBe(false);
  // Another one came meanwhile.
  expect(talk(after(...known, asked(idAt(9)), pushed(theirs(5)), counted)).recount).toBe(true);
  // There was a newer head, which comes later, or came meanwhile.
  const without = after(...known, asked(idAt(9)), told());
  expect(talk(without).recount).toBe(false);
  expect(talk(reduce(without, pushed(theirs(10)))).recount).toBe(true);
  expect(talk(after(...known, asked(idAt(9)), pushed(theirs(10)), told())).recount).toBe(true);
  // The first that is heard of the head, and once only.
  const first = after(pushed(theirs(4)), told(entry(9, { unread: 5 })));
  expect(talk(first).recount).toBe(true);
  const again = [asked(idAt(9)), told(entry(9, { unread: 6 }))].reduce(reduce, first);
  expect([talk(again).recount, unread(talk(again), ME)]).toEqual([false, 6]);
});

test('a mark that lands where the count no longer fits has the count asked for again', () => {
  const state = after(inbox(entry(9, { unread: 5, read_up_to: idAt(1) })));
  expect(talk(reduce(state, receipt(ME, { read_up_to: idAt(4) }))).recount).toBe(true);
  expect(talk(reduce(state, receipt(ME, { read_up_to: idAt(9) }))).recount).toBe(false);
});

test('a conversation that becomes known by a message or a page has its marks asked for', () => {
  const opened = { type: 'opened', conversation: TALK, peer: PEER } as const;
  expect(talk(after(opened)).recount).toBe(false);
  expect(talk(after(pushed(theirs(1)))).recount).toBe(true);
  expect(talk(after(...loaded([own(1)]))).recount).toBe(true);
  const window = heard({ type: 'history', conversation: TALK, messages: [own(1)], more: false });
  expect(talk(after(window)).recount).toBe(true);
  expect(talk(after(...loaded([]))).recount).toBe(false);
  expect(talk(after(inbox(entry(1)), ...loaded([theirs(1)]), pushed(theirs(2)))).recount).toBe(
    false,
  );
});

test('what the server has is asked for once for each head, whatever it answers', () => {
  const about = { about: 'inbox', only: TALK, before: idAt(1) } as const;
  const asked = { type: 'asked', ref: refOf(5), question: about } as const;
  const without = heard({ type: 'inbox', ref: refOf(5), entries: [], more: false });
  const state = after(pushed(theirs(1)), asked, without);
  expect(talk(state).recount).toBe(false);
  expect(talk(reduce(state, pushed(theirs(1)))).recount).toBe(false);
  expect(talk(reduce(state, pushed(theirs(2)))).recount).toBe(true);
  const told = heard({ type: 'inbox', ref: refOf(5), entries: [entry(1)], more: false });
  expect(talk(after(pushed(theirs(1)), asked, told, pushed(theirs(2)))).recount).toBe(false);
});

test('a count that does not fit its mark is asked for again when a newer head comes', () => {
  const mark = receipt(ME, { read_up_to: idAt(4) });
  const about = { about: 'inbox', only: TALK, before: idAt(9) } as const;
  const asked = { type: 'asked', ref: refOf(5), question: about } as const;
  const without = heard({ type: 'inbox', ref: refOf(5), entries: [], more: false });
  const state = after(inbox(entry(9, { unread: 5, read_up_to: idAt(1) })), mark, asked, without);
  expect(talk(state).recount).toBe(false);
  expect(talk(reduce(state, pushed(theirs(10)))).recount).toBe(true);
});

test('a reset forgets what was told, and keeps what is open and what was meant', () => {
  const state = after(
    inbox(entry(1)),
    { type: 'opened', conversation: TALK, peer: PEER },
    ASKED,
    page([theirs(1)]),
    { type: 'intents', intents: [sending(5)] },
    heard({ type: 'reset', cursor: 'c' }),
  );
  expect(texts(state)).toEqual(['sending 5']);
  expect(talk(state)).toMatchObject({ thread: [], from: undefined, counted: undefined });
  expect(state.inboxFrom).toBeUndefined();
  expect(state.questions).toEqual({});
});

test('an answer to a question of before the reset changes nothing', () => {
  const open = { type: 'opened', conversation: TALK, peer: PEER } as const;
  const state = after(open, ASKED, heard({ type: 'reset', cursor: 'c' }));
  expect(reduce(state, page([theirs(1)])).conversations).toEqual(state.conversations);
});

test('a message that comes after a missing one makes a hole that a catch-up closes', () => {
  const push = pushed(theirs(3, { after: idAt(2) }));
  const state = after(...loaded([theirs(1)]), LIVE, push);
  expect(state.holes).toEqual({ [TALK]: idAt(2) });
  expect(reduce(state, heard({ type: 'synced', cursor: 'c' })).holes).toEqual({});
});

test('a message that comes after one that is held makes no hole', () => {
  const state = after(...loaded([theirs(1), own(2)]), LIVE, pushed(theirs(3, { after: idAt(2) })));
  expect(state.holes).toEqual({});
});

test('an older page that no longer joins the window is not put above a gap', () => {
  const older = {
    type: 'asked',
    ref: refOf(998),
    question: { about: 'history', conversation: TALK, before: idAt(5) },
  } as const;
  const answer = heard({
    type: 'history',
    ref: refOf(998),
    conversation: TALK,
    messages: [theirs(4)],
    more: true,
  });
  const cut = heard({ type: 'history', conversation: TALK, messages: [theirs(9)], more: true });
  const known = after(...loaded([theirs(5), theirs(6)], true), older);
  expect(texts(reduce(known, answer))).toEqual(['theirs 4', 'theirs 5', 'theirs 6']);
  expect(texts([cut, answer].reduce(reduce, known))).toEqual(['theirs 9']);
});

test('the inbox stands newest first, and what waits counts', () => {
  const other = 'f0000000-0000-5000-8000-000000000000';
  const state = after(inbox(entry(9), entry(5, { conversation: other, peer: 'carl' })));
  expect(inboxOf(state).map(({ peer }) => peer)).toEqual([PEER, 'carl']);
  const waiting = { ...sending(20), conversation: other, to: 'carl' };
  const next = reduce(state, { type: 'intents', intents: [waiting] });
  expect(inboxOf(next).map(({ peer, preview }) => [peer, preview])).toEqual([
    ['carl', 'sending 20'],
    [PEER, 'theirs 9'],
  ]);
});

test('who is writing has stopped when his message comes or his time is over', () => {
  const typing = heard({ type: 'typing', conversation: TALK, user: PEER });
  const state = after(inbox(entry(1)), typing);
  expect(inboxOf(state)[0]?.typing).toBe(true);
  expect(inboxOf(reduce(state, pushed(theirs(2))))[0]?.typing).toBe(false);
  expect(reduce(state, { type: 'typing_over', now: Number.MAX_SAFE_INTEGER }).typing).toEqual({});
});

test('who was watched is not known to be there once the connection is lost', () => {
  const state = after(LIVE, heard({ type: 'presence', user: PEER, online: true }));
  expect(state.presence[PEER]?.online).toBe(true);
  const lost = reduce(state, { type: 'status', status: { phase: 'waiting', until: 0 } });
  expect(lost.presence).toEqual({});
});

test('a refused edit leaves the message as it was, with the reason', () => {
  const failed = { code: 'unknown_message', text: 'no such message' } as const;
  const intent = { ...sending(5), kind: 'edit', target: idAt(3), text: 'new', failed } as const;
  const state = after(...loaded([own(3)]), { type: 'intents', intents: [intent] });
  expect(threadOf(state, TALK)).toMatchObject([{ text: 'own 3', failure: failed, tick: 'sent' }]);
});
