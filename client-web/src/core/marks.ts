/**
 * What this client owes the server in marks: delivered and read.
 *
 * Decided from the state and from whether somebody is looking; sends nothing itself. Nothing is
 * owed while a catch-up is under way, nor in a conversation with a hole: a tick over a gap
 * would say that the missing message was seen.
 */

import type { ConversationId, MessageId } from '../wire.ts';
import { timerMs } from './backoff.ts';
import type { Host } from './host.ts';
import { later, NONE } from './ids.ts';
import type { Conversation, State } from './state.ts';
import { newest } from './thread.ts';

/** Whether somebody is looking, and at the newest message. */
export interface Attention {
  readonly visible: boolean;
  readonly focused: boolean;
  readonly atBottom: boolean;
}

/** A mark to send. */
export interface Due {
  readonly type: 'delivered' | 'read';
  readonly conversation: ConversationId;
  readonly id: MessageId;
}

/** The marks that were sent on this connection, so that each goes out once. */
export interface Told {
  readonly delivered: ReadonlyMap<ConversationId, MessageId>;
  readonly read: ReadonlyMap<ConversationId, MessageId>;
}

function newestOfPeer({ thread, counted }: Conversation, me: string): MessageId | '' {
  const held = newest(thread, (message) => message.sender !== me)?.id ?? NONE;
  const head = counted !== undefined && counted.head.sender !== me ? counted.head.id : NONE;
  return later(held, head);
}

function readDue(state: State, conversation: Conversation, attention: Attention): MessageId | '' {
  const { id, from, thread, seenUpTo } = conversation;
  const looking = attention.visible && attention.focused && attention.atBottom;
  if (!looking || state.open !== id || from === undefined) return seenUpTo;
  // A mark names what was shown, not what the inbox knows.
  const shown = newest(thread, (message) => message.sender !== state.me)?.id ?? NONE;
  return later(seenUpTo, shown);
}

/** Lists the marks that are owed now. */
export function marksDue(state: State, attention: Attention, told: Told): readonly Due[] {
  if (state.status.phase !== 'live') return [];
  const due: Due[] = [];
  for (const conversation of Object.values(state.conversations)) {
    const { id } = conversation;
    if (state.holes[id] !== undefined) continue;
    const read = readDue(state, conversation, attention);
    const knownRead = later(conversation.readUpTo, told.read.get(id) ?? NONE);
    if (read > knownRead) {
      due.push({ type: 'read', conversation: id, id: read });
      continue;
    }
    const got = newestOfPeer(conversation, state.me);
    const knownGot = later(
      later(conversation.deliveredUpTo, knownRead),
      told.delivered.get(id) ?? NONE,
    );
    if (got > knownGot) due.push({ type: 'delivered', conversation: id, id: got });
  }
  return due;
}

/** One frame a conversation a burst; a hidden tab lets a visible one of the same user answer first. */
const BURST_MS = 30;
const HIDDEN_BURST_MS = 400;

/** Marks in one burst, and the pause after a full one: well below what the server lets wait. */
const BURST = 100;
const PAUSE_MS = 500;

/** How long to wait after a refusal that does not say. */
const REFUSED_MS = 1000;

/** Sends the marks that are owed. */
export class Marker {
  readonly #host: Host;
  #attention: Attention = { visible: false, focused: false, atBottom: false };
  readonly #delivered = new Map<ConversationId, MessageId>();
  readonly #read = new Map<ConversationId, MessageId>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Sends by `host`. */
  constructor(host: Host) {
    this.#host = host;
  }

  /** Learns whether somebody is looking. */
  attend(attention: Attention): void {
    this.#attention = attention;
    this.consider();
  }

  /** A session was lost: what was told on it may not have arrived. */
  disconnected(): void {
    this.#delivered.clear();
    this.#read.clear();
    this.stop();
  }

  /**
   * The server had no room for a mark, and does not say for which: what nothing has confirmed is
   * told again after a while.
   */
  refused(afterMs = REFUSED_MS): void {
    this.disconnected();
    this.#timer = setTimeout(() => this.#send(), timerMs(afterMs));
  }

  /** Stops what was considered. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Something changed: marks may be owed once the burst is over. */
  consider(): void {
    const wait = this.#attention.visible ? BURST_MS : HIDDEN_BURST_MS;
    this.#timer ??= setTimeout(() => this.#send(), wait);
  }

  #send(): void {
    this.#timer = undefined;
    const told: Told = { delivered: this.#delivered, read: this.#read };
    const all = marksDue(this.#host.state(), this.#attention, told);
    if (all.length > BURST) this.#timer = setTimeout(() => this.#send(), PAUSE_MS);
    for (const due of all.slice(0, BURST)) {
      if (!this.#host.send(due)) return;
      (due.type === 'read' ? this.#read : this.#delivered).set(due.conversation, due.id);
      if (due.type === 'read') {
        this.#host.dispatch({ type: 'seen', conversation: due.conversation, id: due.id });
      }
    }
  }
}
