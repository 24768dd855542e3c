/**
 * What a user meant to do and the server has not yet confirmed: sends, edits, deletions.
 *
 * An intent is named by its ref, which no retry changes. Here is its data, the frame that
 * carries it, and when it needs a new stamp; when it is sent is the sender's business, where it
 * is kept the outbox's.
 */

import {
  type ClientFrame,
  type ClientId,
  type ConversationId,
  type ErrorCode,
  type MessageId,
  type Ref,
  STAMP_BEHIND_MS,
  type UserId,
} from '../wire.ts';
import { compareStamps, type Stamp } from './ids.ts';

/** Why an intent came to nothing. */
export interface Failure {
  readonly code: ErrorCode;
  /** The server's words. */
  readonly text: string;
}

interface Common {
  readonly ref: Ref;
  readonly user: UserId;
  /** Whose outbox it is in. */
  readonly client: ClientId;
  readonly conversation: ConversationId;
  /** Its place among what this client meant to do. */
  readonly order: number;
  readonly at: number;
  readonly n: number;
  /** Whether an attempt with this stamp may have been written. */
  readonly attempted: boolean;
  /** Set once the server refused it for good. */
  readonly failed?: Failure;
}

/** To send a message. */
export interface SendIntent extends Common {
  readonly kind: 'send';
  readonly to: UserId;
  readonly text: string;
  readonly after?: MessageId;
  readonly replyTo?: MessageId;
}

/** To replace the text of a message. */
export interface EditIntent extends Common {
  readonly kind: 'edit';
  readonly target: MessageId;
  readonly text: string;
}

/** To delete a message. */
export interface DeleteIntent extends Common {
  readonly kind: 'delete';
  readonly target: MessageId;
}

/** What a user meant to do. */
export type Intent = SendIntent | EditIntent | DeleteIntent;

/** Writes the frame that carries an intent; `retry` as the present stamp was attempted before. */
export function frameOf(intent: Intent): ClientFrame {
  const { ref, conversation, at, n } = intent;
  const retry = intent.attempted ? { retry: true } : {};
  switch (intent.kind) {
    case 'send':
      return {
        type: 'send',
        ref,
        conversation,
        to: intent.to,
        at,
        n,
        text: intent.text,
        ...(intent.after !== undefined && { after: intent.after }),
        ...(intent.replyTo !== undefined && { reply_to: intent.replyTo }),
        ...retry,
      };
    case 'edit':
      return {
        type: 'edit',
        ref,
        conversation,
        id: intent.target,
        at,
        n,
        text: intent.text,
        ...retry,
      };
    case 'delete':
      return { type: 'delete', ref, conversation, id: intent.target };
  }
}

/** How far ahead a stamp may be that was made before the server's time was known. */
const AHEAD_MS = 1000;

/** Tells whether a stamp that nothing was written with is from a clock that went ahead. */
export function isAhead({ kind, at, attempted }: Intent, now: number): boolean {
  return kind !== 'delete' && !attempted && at - now > AHEAD_MS;
}

/**
 * Tells whether an intent must be stamped anew before it is sent: its stamp is no longer above
 * the one of its kind that goes `before` it; or nothing of it can have been written, and its
 * stamp is too old to be admitted, or from a clock that went ahead.
 *
 * What was overtaken may have been attempted: the one before it was stamped anew, so this one
 * was held. Should its earlier attempt turn up after all, the two are twins.
 */
export function needsStamp(intent: Intent, now: number, before: Stamp | undefined): boolean {
  if (intent.kind === 'delete') return false;
  if (before !== undefined && compareStamps(intent, before) <= 0) return true;
  return !intent.attempted && (now - intent.at > STAMP_BEHIND_MS || isAhead(intent, now));
}

/** Orders intents as they were meant. */
export function byOrder(one: Intent, other: Intent): number {
  return one.order - other.order || (one.ref < other.ref ? -1 : 1);
}
