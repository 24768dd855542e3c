import { expect, test } from 'vitest';
import { deleted, edited, holds, put, putAll } from '../src/core/thread.ts';
import { idAt, orders, own, theirs } from './given.ts';

const ids = (thread: readonly { id: string }[]) => thread.map(({ id }) => id);

test('messages that come in any order stand in the order of their ids', () => {
  const messages = [theirs(1), own(2), theirs(3), own(4)];
  for (const order of orders(messages)) expect(putAll([], order)).toEqual(messages);
});

test('two messages of one millisecond stand in the order of their count', () => {
  const [first, second] = [own(1, { id: idAt(1, 9, 0) }), own(1, { id: idAt(1, 3, 1) })];
  expect(ids(putAll([], [second, first]))).toEqual([first.id, second.id]);
});

test('a message that comes twice stands there once', () => {
  const thread = putAll([], [theirs(1), theirs(2)]);
  expect(put(thread, theirs(1))).toBe(thread);
});

test('of two ids of one intent the larger is the message, whichever comes first', () => {
  const [early, late] = [own(1, { id: idAt(1, 7) }), own(1, { id: idAt(5, 7) })];
  for (const order of orders([early, late, theirs(3)])) {
    expect(ids(putAll([], order))).toEqual([idAt(3), late.id]);
  }
  expect(holds(putAll([], [late]), early.id)).toBe(true);
});

test('two people whose ids end alike wrote two messages', () => {
  const messages = [own(1, { id: idAt(1, 7) }), theirs(2, { id: idAt(2, 7) })];
  expect(putAll([], messages)).toHaveLength(2);
});

test('the larger edit wins, in any order', () => {
  const { id } = theirs(1);
  const edits = [10, 20, 30].map((ms) => ({ id, edit: idAt(ms), text: `edit ${ms}` }));
  for (const order of orders(edits)) {
    const thread = order.reduce(edited, [theirs(1)]);
    expect(thread[0]).toMatchObject({ text: 'edit 30', edit: idAt(30) });
  }
});

test('an older version of a message that comes late undoes no edit', () => {
  const thread = edited([theirs(1)], { id: idAt(1), edit: idAt(9), text: 'new' });
  expect(put(thread, theirs(1, { text: 'old' }))).toBe(thread);
});

test('a deletion is undone by nothing that comes after it', () => {
  const gone = deleted([theirs(1)], idAt(1));
  expect(gone[0]).toMatchObject({ deleted: true, text: '' });
  expect(edited(gone, { id: idAt(1), edit: idAt(9), text: 'back' })).toBe(gone);
  expect(put(gone, theirs(1, { edit: idAt(99) }))).toBe(gone);
});

test('an edit or a deletion of what is not there creates nothing', () => {
  expect(edited([], { id: idAt(1), edit: idAt(2), text: 'x' })).toEqual([]);
  expect(deleted([], idAt(1))).toEqual([]);
});
