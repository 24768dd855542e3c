/**
 * Everything the pages show, as plain data that only the reducer changes.
 *
 * Knows nothing of sockets, storage or React.
 */

import {
  type ConversationId,
  type Head,
  type MessageId,
  type Presence,
  type Ref,
  type StoreId,
  TEXT_BYTES,
  type UserId,
} from '../wire.ts';
import { NONE } from './ids.ts';
import type { Intent } from './intent.ts';
import type { Thread } from './thread.ts';

/** How the connection stands. */
export type Status =
  /** Asking discovery, or opening the socket. */
  | { readonly phase: 'connecting' }
  /** Welcomed; what was missed is being read. */
  | { readonly phase: 'catching_up' }
  /** Everything acknowledged before now has been told. */
  | { readonly phase: 'live' }
  /** Trying again at a local time. */
  | { readonly phase: 'waiting'; readonly until: number }
  /** Not trying again by itself. */
  | { readonly phase: 'ended'; readonly why: Ending };

/** Why a connection is not made again: taken over, the log-in is over, or not understood. */
export type Ending = 'replaced' | 'logged_out' | 'protocol';

/** An inbox entry as the server counted it. */
export interface Counted {
  readonly head: Head;
  readonly unread: number;
  /** Up to where it counted as read. */
  readonly readUpTo: MessageId | '';
}

/** What is known of one conversation. Marks are {@link NONE} or an id, and only grow. */
export interface Conversation {
  readonly id: ConversationId;
  readonly peer: UserId;
  readonly counted: Counted | undefined;
  /** Every message held: those of the window, and what was pushed since. */
  readonly thread: Thread;
  /** From where on `thread` has no gap; nothing when no page was loaded. */
  readonly from: MessageId | '' | undefined;
  /** Edits and deletions of messages not held, kept while a page is on its way. */
  readonly early: readonly Early[];
  /** How far this user read, by the server's word. */
  readonly readUpTo: MessageId | '';
  /** How far this tab showed it; the server is being told. */
  readonly seenUpTo: MessageId | '';
  /** How far some device of this user got it, by the server's word. */
  readonly deliveredUpTo: MessageId | '';
  readonly peerDeliveredUpTo: MessageId | '';
  readonly peerReadUpTo: MessageId | '';
  /** Whether the unread count has to be asked for again. */
  readonly recount: boolean;
  /** Whether a message came of which a count that is told may say nothing; asked for since, or not. */
  readonly uncounted: 'none' | 'asked' | 'some';
}

/** A change that came before the message it is about. */
export type Early =
  | { readonly id: MessageId; readonly edit: string; readonly text: string }
  | { readonly id: MessageId; readonly deleted: true };

/** What was asked of the server and is not answered. */
export type Question =
  | { readonly about: 'inbox'; readonly before?: MessageId; readonly only?: ConversationId }
  | {
      readonly about: 'history';
      readonly conversation: ConversationId;
      readonly before?: MessageId;
    };

/** Everything the pages show. */
export interface State {
  readonly me: UserId;
  readonly status: Status;
  readonly store: StoreId | undefined;
  /** When this page's first session began, by the server's time; nothing before that. */
  readonly welcomedAt: number | undefined;
  /** Bytes that a text may have. */
  readonly textBytes: number;
  /** Users that this session may watch. */
  readonly watches: number;
  readonly conversations: Readonly<Record<ConversationId, Conversation>>;
  /** Down to which head the inbox is loaded; nothing before the first page. */
  readonly inboxFrom: MessageId | '' | undefined;
  readonly open: ConversationId | undefined;
  readonly intents: readonly Intent[];
  readonly questions: Readonly<Record<Ref, Question>>;
  readonly presence: Readonly<Record<UserId, Presence>>;
  /** Until which local time somebody is writing. */
  readonly typing: Readonly<Record<ConversationId, number>>;
  /** What a message says it comes after, and should be here but is not. */
  readonly holes: Readonly<Record<ConversationId, MessageId>>;
  /** Holes for which a catch-up was asked: once an id. */
  readonly asked: ReadonlySet<MessageId>;
}

/** Tells whether the log-in is known to be over. */
export function isLoggedOut({ status }: State): boolean {
  return status.phase === 'ended' && status.why === 'logged_out';
}

/** Gives the state of a user of whom nothing is known yet. */
export function initialState(me: UserId): State {
  return {
    me,
    status: { phase: 'connecting' },
    store: undefined,
    welcomedAt: undefined,
    textBytes: TEXT_BYTES,
    watches: 0,
    conversations: {},
    inboxFrom: undefined,
    open: undefined,
    intents: [],
    questions: {},
    presence: {},
    typing: {},
    holes: {},
    asked: new Set(),
  };
}

/** Gives a conversation of which only the peer is known. */
export function emptyConversation(id: ConversationId, peer: UserId): Conversation {
  return {
    id,
    peer,
    counted: undefined,
    thread: [],
    from: undefined,
    early: [],
    readUpTo: NONE,
    seenUpTo: NONE,
    deliveredUpTo: NONE,
    peerDeliveredUpTo: NONE,
    peerReadUpTo: NONE,
    recount: false,
    uncounted: 'none',
  };
}
