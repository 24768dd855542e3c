/** What the tests are about: two people, their conversation, and messages made in few words. */

import { readFileSync } from 'node:fs';
import { smallestId } from '../src/core/ids.ts';
import type { SendIntent } from '../src/core/intent.ts';
import { type Action, reduce } from '../src/core/reducer.ts';
import { initialState, type State } from '../src/core/state.ts';
import type { Storage } from '../src/core/store/journal.ts';
import type { InboxEntry, Message, MessageId, ServerFrame } from '../src/wire.ts';

export const ME = 'ana';
export const PEER = 'ben';
export const TALK = 'f99960b4-8fd2-5d28-b9e0-d969c7bc8dc6';
export const STORE = '9b2d7c66-1111-4222-8333-444455556666';
export const CLIENT = '6a3c1a52-90c2-4a6e-9c1e-7c9a2b1f0e11';

/** The server's time in these tests. */
export const NOW = 1_790_000_000_000;

/** Reads one of the golden fixtures that the server's tests read too. */
export function fixture<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../../schema/fixtures/${name}`, import.meta.url), 'utf8'),
  );
}

/** Makes the id of a message sent `ms` after the beginning; `low` is what its twins share. */
export function idAt(ms: number, low = ms, n = 0): MessageId {
  const end = low.toString(16).padStart(12, '0');
  return `${smallestId({ at: NOW + ms, n }).slice(0, 19)}8000-${end}`;
}

/** Makes a ref out of a number. */
export function refOf(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}

/** Makes a message of the peer's, sent `ms` after the beginning. */
export function theirs(ms: number, more: Partial<Message> = {}): Message {
  return {
    id: idAt(ms),
    conversation: TALK,
    sender: PEER,
    to: ME,
    ref: refOf(ms),
    text: `theirs ${ms}`,
    ...more,
  };
}

/** Makes a message of one's own. */
export function own(ms: number, more: Partial<Message> = {}): Message {
  return theirs(ms, { sender: ME, to: PEER, text: `own ${ms}`, ...more });
}

/** Makes a send that waits. */
export function sending(order: number, more: Partial<SendIntent> = {}): SendIntent {
  return {
    kind: 'send',
    ref: refOf(order),
    user: ME,
    client: CLIENT,
    conversation: TALK,
    order,
    at: NOW + order,
    n: 0,
    attempted: false,
    to: PEER,
    text: `sending ${order}`,
    ...more,
  };
}

/** Makes an inbox entry whose head is the peer's message of `ms`. */
export function entry(ms: number, more: Partial<InboxEntry> = {}): InboxEntry {
  const head = { id: idAt(ms), sender: PEER, preview: `theirs ${ms}` };
  return { conversation: TALK, peer: PEER, head, unread: 1, ...more };
}

/** Wraps what the server said. */
export function heard(frame: ServerFrame): Action {
  return { type: 'frame', frame, at: NOW };
}

/** Wraps a message that was pushed. */
export function pushed(message: Message): Action {
  return heard({ type: 'message', ...message });
}

/** Gives the state after all this happened to a new client. */
export function after(...actions: readonly Action[]): State {
  return actions.reduce(reduce, initialState(ME));
}

/** The connection is up and everything was told. */
export const LIVE: Action = { type: 'status', status: { phase: 'live' } };

/** The newest page of the conversation is asked for; {@link page} answers it. */
export const ASKED: Action = {
  type: 'asked',
  ref: refOf(999),
  question: { about: 'history', conversation: TALK },
};

/** The answer to {@link ASKED}: newest first, as the server sends it. */
export function page(messages: readonly Message[], more = false): Action {
  const newestFirst = [...messages].sort((one, other) => (one.id < other.id ? 1 : -1));
  return heard({
    type: 'history',
    ref: refOf(999),
    conversation: TALK,
    messages: newestFirst,
    more,
  });
}

/** Opens the conversation and loads its newest page. */
export function loaded(messages: readonly Message[], more = false): readonly Action[] {
  return [{ type: 'opened', conversation: TALK, peer: PEER }, ASKED, page(messages, more)];
}

/** Gives every order of a few things. */
export function orders<T>(things: readonly T[]): readonly (readonly T[])[] {
  if (things.length < 2) return [things];
  return things.flatMap((thing, i) =>
    orders(things.toSpliced(i, 1)).map((rest) => [thing, ...rest]),
  );
}

/** Lets everything that waits for nothing but promises and the database go on. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500; i += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`this never came true: ${holds}`);
}

/** Makes a session storage that a test can read. */
export function storage(): Storage & { readonly rows: Map<string, string> } {
  const rows = new Map<string, string>();
  return {
    rows,
    getItem: (key) => rows.get(key) ?? null,
    setItem: (key, value) => void rows.set(key, value),
    removeItem: (key) => void rows.delete(key),
    key: (index) => [...rows.keys()][index] ?? null,
    get length() {
      return rows.size;
    },
  };
}
