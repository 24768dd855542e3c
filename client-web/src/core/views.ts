/**
 * What the pages read from the state: the inbox in order, a thread with what is not yet
 * confirmed laid over it, ticks. Pure; computed anew, never stored.
 */

import type { ConversationId, Message, MessageId, Ref, UserId } from '../wire.ts';
import { headId, readUpTo, unread } from './conversation.ts';
import { lowOf, NONE, smallestId, stampOf } from './ids.ts';
import type { DeleteIntent, EditIntent, Failure, Intent, SendIntent } from './intent.ts';
import type { Conversation, State } from './state.ts';
import { newest, since } from './thread.ts';

/** How far a message of one's own got. They only move to the right. */
export type Tick = 'pending' | 'failed' | 'sent' | 'delivered' | 'read';

/** A message as a page shows it. */
export interface Shown {
  /** Stays the same when a pending message is confirmed. */
  readonly key: string;
  /** The id, or nothing while it is not confirmed. */
  readonly id: MessageId | undefined;
  readonly ref: Ref;
  readonly place: string;
  readonly mine: boolean;
  readonly text: string;
  readonly at: number;
  readonly edited: boolean;
  readonly deleted: boolean;
  readonly replyTo: MessageId | undefined;
  /** Only on one's own. */
  readonly tick: Tick | undefined;
  readonly failure: Failure | undefined;
  /** The intent that failed, to be tried again or dismissed. */
  readonly failedRef: Ref | undefined;
}

/** One line of the inbox. */
export interface Line {
  readonly conversation: ConversationId;
  readonly peer: UserId;
  readonly place: string;
  readonly at: number;
  readonly preview: string;
  readonly mine: boolean;
  readonly deleted: boolean;
  readonly tick: Tick | undefined;
  readonly unread: number;
  readonly typing: boolean;
}

/** Says how far one's own message got. */
export function tickOf(conversation: Conversation, id: MessageId): Tick {
  if (conversation.peerReadUpTo >= id) return 'read';
  if (conversation.peerDeliveredUpTo >= id) return 'delivered';
  return 'sent';
}

function shownMessage(conversation: Conversation, message: Message, me: UserId): Shown {
  const mine = message.sender === me;
  return {
    // The peer may use a ref again, also one of this user's; no two of his messages end alike.
    key: mine ? message.ref : lowOf(message.id),
    id: message.id,
    ref: message.ref,
    place: message.id,
    mine,
    text: message.text,
    at: stampOf(message.id).at,
    edited: message.edit !== undefined && !message.deleted,
    deleted: message.deleted ?? false,
    replyTo: message.reply_to,
    tick: mine ? tickOf(conversation, message.id) : undefined,
    failure: undefined,
    failedRef: undefined,
  };
}

function shownSend(intent: SendIntent): Shown {
  return {
    key: intent.ref,
    id: undefined,
    ref: intent.ref,
    place: smallestId(intent),
    mine: true,
    text: intent.text,
    at: intent.at,
    edited: false,
    deleted: false,
    replyTo: intent.replyTo,
    tick: intent.failed ? 'failed' : 'pending',
    failure: intent.failed,
    failedRef: intent.failed && intent.ref,
  };
}

/** Lays an unconfirmed edit or deletion over its message; a refused one leaves it as it was. */
function overlaid(shown: Shown, intent: EditIntent | DeleteIntent): Shown {
  if (intent.failed) return { ...shown, failure: intent.failed, failedRef: intent.ref };
  if (intent.kind === 'delete') return { ...shown, text: '', deleted: true, tick: 'pending' };
  return shown.deleted ? shown : { ...shown, text: intent.text, edited: true, tick: 'pending' };
}

function ofConversation(intents: readonly Intent[], id: ConversationId): readonly Intent[] {
  return intents.filter((intent) => intent.conversation === id);
}

/** Gives the messages of a conversation in the order in which every device shows them. */
export function threadOf(state: State, id: ConversationId): readonly Shown[] {
  const conversation = state.conversations[id];
  if (conversation === undefined) return [];
  const intents = ofConversation(state.intents, id);
  const from = conversation.from ?? NONE;
  const shown = conversation.thread
    .filter((message) => message.id >= from)
    .map((message) => shownMessage(conversation, message, state.me));
  const stored = new Set(shown.filter(({ mine }) => mine).map(({ ref }) => ref));
  const sends = intents
    .filter((intent) => intent.kind === 'send' && !stored.has(intent.ref))
    .map((intent) => shownSend(intent as SendIntent));
  const changes = intents.filter((intent) => intent.kind !== 'send');
  return [...shown, ...sends]
    .map((message) =>
      changes.reduce(
        (to, intent) => (intent.target === to.id ? overlaid(to, intent) : to),
        message,
      ),
    )
    .sort((one, other) => (one.place < other.place ? -1 : one.place > other.place ? 1 : 0));
}

function lineOf(state: State, conversation: Conversation): Line | undefined {
  const { counted, peer, thread } = conversation;
  const common = {
    conversation: conversation.id,
    peer,
    unread: unread(conversation, state.me),
    typing: state.typing[conversation.id] !== undefined,
  };
  const head = headId(conversation);
  const pending = ofConversation(state.intents, conversation.id).findLast(
    (intent): intent is SendIntent => intent.kind === 'send',
  );
  if (pending !== undefined && smallestId(pending) > head) {
    const { place, at, text, tick } = shownSend(pending);
    return { ...common, place, at, preview: text, mine: true, deleted: false, tick };
  }
  const last = newest(thread);
  if (last !== undefined && last.id === head) {
    const { place, at, text, mine, deleted, tick } = shownMessage(conversation, last, state.me);
    return { ...common, place, at, preview: text, mine, deleted, tick };
  }
  if (counted === undefined) return undefined;
  const mine = counted.head.sender === state.me;
  return {
    ...common,
    place: head,
    at: stampOf(head).at,
    preview: counted.head.preview,
    mine,
    deleted: counted.head.deleted ?? false,
    tick: mine ? tickOf(conversation, head) : undefined,
  };
}

/** Gives the inbox, newest first. */
export function inboxOf(state: State): readonly Line[] {
  return Object.values(state.conversations)
    .map((conversation) => lineOf(state, conversation))
    .filter((line) => line !== undefined)
    .sort((one, other) => (one.place < other.place ? 1 : one.place > other.place ? -1 : 0));
}

/**
 * Gives what others have written since this page's first session began, in the order of ids, without
 * what the user had read by the marks of the state `before`: pages of that may be loaded again.
 */
export function arrived(state: State, before: State): readonly Message[] {
  const { conversations, me, welcomedAt } = state;
  if (welcomedAt === undefined) return [];
  const first = smallestId({ at: welcomedAt, n: 0 });
  return Object.values(conversations)
    .flatMap((held) => {
      const read = readUpTo(before.conversations[held.id] ?? held);
      return since(held.thread, first).filter(({ id, sender }) => sender !== me && id > read);
    })
    .sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** Counts what is unread in all conversations that are loaded. */
export function unreadInAll(state: State): number {
  return Object.values(state.conversations).reduce(
    (sum, conversation) => sum + unread(conversation, state.me),
    0,
  );
}
