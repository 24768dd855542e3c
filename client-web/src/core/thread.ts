/**
 * Messages of one conversation in order, and how what arrives changes them.
 *
 * The same facts in any order, any number of times, give the same thread: ids sort, the larger
 * edit wins, a deletion beats edits, and of two twins the larger id is the message. Pure; knows
 * nothing of windows, marks or who is looking.
 */

import type { Edited, Message, MessageId } from '../wire.ts';
import { lowOf } from './ids.ts';

/** Messages sorted by id, each once. */
export type Thread = readonly Message[];

/** Gives the index of `id`, or of where it would stand. */
function placeOf(thread: Thread, id: MessageId): number {
  let low = 0;
  let high = thread.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((thread[middle] as Message).id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Finds a message by id. */
export function find(thread: Thread, id: MessageId): Message | undefined {
  const message = thread[placeOf(thread, id)];
  return message?.id === id ? message : undefined;
}

/** Tells whether the message `id` is there, under this id or under its twin's. */
export function holds(thread: Thread, id: MessageId): boolean {
  if (find(thread, id) !== undefined) return true;
  const low = lowOf(id);
  return thread.some((message) => message.id.endsWith(low));
}

/** Joins two versions of one message; gives `held` itself when the other adds nothing. */
export function joined(held: Message, other: Message): Message {
  if (held.deleted) return held;
  if (other.deleted) return { ...held, text: '', deleted: true };
  if ((other.edit ?? '') > (held.edit ?? '')) {
    return { ...held, text: other.text, edit: other.edit };
  }
  return held;
}

/** What a push says about the way is no part of the message. */
function bare(message: Message): Message {
  if (message.after === undefined) return message;
  const { after: _, ...rest } = message;
  return rest;
}

/** Adds a message, or a newer version of it. */
export function put(thread: Thread, message: Message): Thread {
  const place = placeOf(thread, message.id);
  const held = thread[place];
  if (held?.id === message.id) {
    const next = joined(held, message);
    return next === held ? thread : thread.with(place, next);
  }
  const low = lowOf(message.id);
  const twin = thread.findIndex(
    (other) => other.sender === message.sender && other.id.endsWith(low),
  );
  if (twin === -1) return thread.toSpliced(place, 0, bare(message));
  if ((thread[twin] as Message).id > message.id) return thread;
  return put(thread.toSpliced(twin, 1), message);
}

/** Adds many messages in any order. */
export function putAll(thread: Thread, messages: readonly Message[]): Thread {
  return messages.reduce(put, thread);
}

/** Applies an edit to a message that is there. */
export function edited(thread: Thread, { id, edit, text }: Omit<Edited, 'conversation'>): Thread {
  const held = find(thread, id);
  return held === undefined ? thread : put(thread, { ...held, edit, text });
}

/** Applies a deletion to a message that is there. */
export function deleted(thread: Thread, id: MessageId): Thread {
  const held = find(thread, id);
  return held === undefined ? thread : put(thread, { ...held, text: '', deleted: true });
}

/** Keeps the messages from `id` on. */
export function since(thread: Thread, id: MessageId): Thread {
  const place = placeOf(thread, id);
  return place === 0 ? thread : thread.slice(place);
}

/** Finds the newest message that satisfies `wanted`. */
export function newest(
  thread: Thread,
  wanted: (message: Message) => boolean = () => true,
): Message | undefined {
  return thread.findLast(wanted);
}
