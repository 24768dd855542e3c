/**
 * How one conversation changes when something about it is heard.
 *
 * Pure functions from conversation to conversation, each giving its argument back when nothing
 * changed. Knows nothing of other conversations, of the socket or of storage.
 */

import type {
  Deleted,
  Edited,
  History,
  InboxEntry,
  Message,
  MessageId,
  Receipt,
  UserId,
} from '../wire.ts';
import { ceilingOf, later, NONE } from './ids.ts';
import type { Conversation, Early } from './state.ts';
import { deleted, edited, find, holds, newest, put, putAll, since, type Thread } from './thread.ts';

/** How many changes of unknown messages are kept while a page is on its way. */
const EARLY_KEPT = 200;

/** How many messages a thread may hold that nobody reads back, and how many are left of a longer one. */
export const LONGEST_WINDOW = 500;
export const KEPT_OF_LONGER = 200;

/** Tells whether the thread has no gap from `id` on. */
export function covers(conversation: Conversation, id: MessageId | ''): boolean {
  return conversation.from !== undefined && conversation.from <= id;
}

/** Gives how far this user read, as far as this tab knows. */
export function readUpTo({ readUpTo, seenUpTo }: Conversation): MessageId | '' {
  return later(readUpTo, seenUpTo);
}

/** Gives the newest id that is known, of a message held or of the inbox's word. */
export function headId({ counted, thread }: Conversation): MessageId | '' {
  return later(counted?.head.id ?? NONE, newest(thread)?.id ?? NONE);
}

/**
 * Counts what the user has not read: a function of marks and messages, equal on every tab.
 *
 * Where the thread has no gap above the mark it is counted. Elsewhere it is what the server
 * counted up to its head, and the peer's messages pushed above that; never less than what is held,
 * because one below the head may have been pushed after it was counted and before that was told.
 */
export function unread(conversation: Conversation, me: UserId): number {
  const { counted, thread } = conversation;
  const read = readUpTo(conversation);
  const above = (id: MessageId | '') =>
    thread.reduce((count, m) => count + (m.sender !== me && m.id > id ? 1 : 0), 0);
  if (counted === undefined || covers(conversation, read)) return above(read);
  if (read >= counted.head.id) return above(read);
  return Math.max(counted.unread + above(counted.head.id), above(read));
}

/** Tells whether a mark landed where the server's count no longer says how many are left. */
function losesCount(conversation: Conversation): boolean {
  const { counted } = conversation;
  const read = readUpTo(conversation);
  return (
    counted !== undefined &&
    counted.unread > 0 &&
    read > counted.readUpTo &&
    read < counted.head.id &&
    !covers(conversation, read)
  );
}

/**
 * Asks for the server's count, with the marks that come with it, when a new head shows that the one
 * that is known does not fit, or that none is: once for each head.
 */
function asWithHead(before: Conversation, next: Conversation): Conversation {
  const isNewHead = headId(next) > headId(before);
  const isLost = next.counted === undefined || losesCount(next) || next.uncounted === 'some';
  return isNewHead && isLost && !next.recount ? { ...next, recount: true } : next;
}

/** Adds a message that was pushed or caught up on. */
export function withMessage(
  conversation: Conversation,
  message: Message,
  me: UserId,
): Conversation {
  const { counted, from } = conversation;
  // Below a window it would stand over a gap; paging down finds it.
  const below = from !== undefined && message.id < from;
  const thread = below ? conversation.thread : put(conversation.thread, message);
  const known = counted?.head;
  const head =
    known?.id === message.id && (message.deleted ?? false) && !known.deleted
      ? { ...known, preview: '', deleted: true }
      : known;
  // Whether the server had counted it already cannot be told, nor whether it does by the answer to
  // what was asked before.
  const slow =
    message.sender !== me &&
    message.id < headId(conversation) &&
    message.id > readUpTo(conversation) &&
    find(conversation.thread, message.id) === undefined &&
    !covers(conversation, readUpTo(conversation));
  if (thread === conversation.thread && head === known && !slow) return conversation;
  return asWithHead(conversation, {
    ...conversation,
    thread,
    counted: counted && head ? { ...counted, head } : counted,
    recount: conversation.recount || slow,
    uncounted: slow ? 'some' : conversation.uncounted,
  });
}

function remember(conversation: Conversation, change: Early, waiting: boolean): Conversation {
  if (!waiting) return conversation;
  return { ...conversation, early: [...conversation.early, change].slice(-EARLY_KEPT) };
}

/** Applies an edit; `waiting` tells that a page is on its way, read before the edit perhaps. */
export function withEdit(
  conversation: Conversation,
  { id, edit, text }: Edited,
  waiting: boolean,
): Conversation {
  const thread = edited(conversation.thread, { id, edit, text });
  if (thread !== conversation.thread) return { ...conversation, thread };
  if (find(thread, id) !== undefined) return conversation;
  const { counted } = conversation;
  const preview = text.trim().replaceAll(/\s/g, ' ');
  const next =
    counted?.head.id === id && !counted.head.deleted
      ? { ...conversation, counted: { ...counted, head: { ...counted.head, preview } } }
      : conversation;
  return remember(next, { id, edit, text }, waiting);
}

/** Applies a deletion. */
export function withDeletion(
  conversation: Conversation,
  { id }: Pick<Deleted, 'id'>,
  waiting: boolean,
): Conversation {
  const { counted } = conversation;
  const thread = deleted(conversation.thread, id);
  const known = find(thread, id) !== undefined;
  const isHead = counted?.head.id === id && !counted.head.deleted;
  if (thread === conversation.thread && !isHead) {
    return known ? conversation : remember(conversation, { id, deleted: true }, waiting);
  }
  const next = {
    ...conversation,
    thread,
    counted:
      counted && isHead
        ? { ...counted, head: { ...counted.head, preview: '', deleted: true } }
        : counted,
  };
  return known ? next : remember(next, { id, deleted: true }, waiting);
}

/** Moves marks forward, never back. */
export function withReceipt(
  conversation: Conversation,
  receipt: Receipt,
  me: UserId,
): Conversation {
  const read = receipt.read_up_to ?? NONE;
  // What was read was delivered.
  const got = later(receipt.delivered_up_to ?? NONE, read);
  const next = { ...conversation };
  if (receipt.user === me) {
    next.readUpTo = later(next.readUpTo, read);
    next.deliveredUpTo = later(next.deliveredUpTo, got);
  }
  // Alone with oneself both is meant.
  if (receipt.user === conversation.peer) {
    next.peerReadUpTo = later(next.peerReadUpTo, read);
    next.peerDeliveredUpTo = later(next.peerDeliveredUpTo, got);
  }
  const moved =
    next.readUpTo !== conversation.readUpTo ||
    next.deliveredUpTo !== conversation.deliveredUpTo ||
    next.peerReadUpTo !== conversation.peerReadUpTo ||
    next.peerDeliveredUpTo !== conversation.peerDeliveredUpTo;
  if (!moved) return conversation;
  next.recount = next.recount || losesCount(next);
  return next;
}

/** Notes that this tab showed the conversation up to `id`. */
export function withSeen(conversation: Conversation, id: MessageId): Conversation {
  if (id <= conversation.seenUpTo) return conversation;
  const next = { ...conversation, seenUpTo: id };
  return { ...next, recount: next.recount || losesCount(next) };
}

/** Takes note that the count is being asked for: of what comes from now on it may say nothing. */
export function withAsked(conversation: Conversation): Conversation {
  return conversation.uncounted === 'some' ? { ...conversation, uncounted: 'asked' } : conversation;
}

/**
 * Tells whether an entry names a head that is news and was not pushed, above messages that were:
 * whether they had been stored when it was counted cannot be told.
 */
function isUnsure(conversation: Conversation, { head }: InboxEntry, me: UserId): boolean {
  const { counted, thread } = conversation;
  const read = readUpTo(conversation);
  return (
    head.id > (counted?.head.id ?? NONE) &&
    find(thread, head.id) === undefined &&
    !covers(conversation, read) &&
    thread.some(({ sender, id }) => sender !== me && id > read && id < head.id)
  );
}

/** Takes over an inbox entry as the server read it just now, or as it was cached. */
export function withEntry(conversation: Conversation, entry: InboxEntry, me: UserId): Conversation {
  const { counted } = conversation;
  const read = entry.read_up_to ?? NONE;
  const uncounted =
    conversation.uncounted === 'some' || isUnsure(conversation, entry, me) ? 'some' : 'none';
  // An answer that was overtaken by what is known already says less.
  const stale =
    counted !== undefined && (counted.head.id > entry.head.id || counted.readUpTo > read);
  const next: Conversation = {
    ...conversation,
    counted: stale ? counted : { head: entry.head, unread: entry.unread, readUpTo: read },
    readUpTo: later(conversation.readUpTo, read),
    peerReadUpTo: later(conversation.peerReadUpTo, entry.peer_read_up_to ?? NONE),
    peerDeliveredUpTo: later(
      conversation.peerDeliveredUpTo,
      later(entry.peer_delivered_up_to ?? NONE, entry.peer_read_up_to ?? NONE),
    ),
    recount: false,
    uncounted,
  };
  const isLost = losesCount(next) && next.readUpTo > next.seenUpTo;
  return { ...next, recount: isLost || uncounted === 'some' };
}

/**
 * Takes note that the server was asked for the count up to the head `before`, and had a newer one
 * only, which will be told or was meanwhile.
 */
export function asCounted(conversation: Conversation, before: MessageId): Conversation {
  const uncounted = conversation.uncounted === 'none' ? 'none' : 'some';
  const recount = uncounted === 'some' && ceilingOf(headId(conversation)) > before;
  const isNews = recount !== conversation.recount || uncounted !== conversation.uncounted;
  return isNews ? { ...conversation, recount, uncounted } : conversation;
}

function applyEarly(thread: Thread, early: readonly Early[]): Thread {
  return early.reduce(
    (to, change) => ('deleted' in change ? deleted(to, change.id) : edited(to, change)),
    thread,
  );
}

/** Says from where on a page has no gap: from its oldest message, or from the beginning. */
export function startOf(page: Pick<History, 'messages' | 'more'>): MessageId | '' {
  return page.more ? (page.messages.at(-1)?.id ?? NONE) : NONE;
}

/** Makes a newest page the window, keeping what was pushed above its start. */
export function withNewestPage(
  conversation: Conversation,
  messages: readonly Message[],
  from: MessageId | '',
): Conversation {
  // A window that reaches further down and joins this page is kept.
  const joins =
    conversation.from !== undefined &&
    messages.some((message) => find(conversation.thread, message.id) !== undefined);
  const start =
    joins && conversation.from !== undefined && conversation.from < from ? conversation.from : from;
  const thread = putAll(since(conversation.thread, start), messages);
  return asWithHead(conversation, {
    ...conversation,
    thread: applyEarly(thread, conversation.early),
    from: start,
    early: [],
  });
}

/** Replaces the window, as after a catch-up that was cut. */
export function withWindow(
  conversation: Conversation,
  messages: readonly Message[],
  from: MessageId | '',
): Conversation {
  return asWithHead(conversation, {
    ...conversation,
    thread: putAll(since(conversation.thread, from), messages),
    from,
    early: [],
  });
}

/** Extends the window downwards by the page that ends below `before`. */
export function withOlderPage(
  conversation: Conversation,
  before: MessageId,
  messages: readonly Message[],
  from: MessageId | '',
): Conversation {
  // The window moved meanwhile: this page would leave a gap.
  if (conversation.from !== before) return conversation;
  const thread = applyEarly(putAll(conversation.thread, messages), conversation.early);
  return { ...conversation, thread, from, early: [] };
}

/**
 * Cuts the oldest messages off a long thread, as if they had not been loaded or pushed: paging brings
 * them back. Those that are not read stay, because they are counted here.
 */
export function withoutOldest(conversation: Conversation): Conversation {
  const { thread, from } = conversation;
  const read = readUpTo(conversation);
  const start = thread.at(-KEPT_OF_LONGER)?.id;
  if (start === undefined || thread.length <= LONGEST_WINDOW) return conversation;
  if (from === undefined) {
    // Gaps or none, it begins with a page when it is opened.
    const left = thread.filter(({ id }) => id >= start || id > read);
    return left.length === thread.length ? conversation : { ...conversation, thread: left };
  }
  if (start <= from || start > read) return conversation;
  return { ...conversation, thread: since(thread, start), from: start };
}

/** Tells whether a message ought to be held, because a pushed one says that it comes after it. */
export function lacks(conversation: Conversation, after: MessageId): boolean {
  return covers(conversation, after) && !holds(conversation.thread, after);
}
