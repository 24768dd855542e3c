/**
 * When what was meant is sent, and what is done about the answer.
 *
 * Conversations are lanes: within one, intents go out in order, many at a time. A refusal that
 * can be mended stops the lane until everything under way is answered (the server answers it
 * `held`); then the lane goes on from its first intent. Before anything is written to the socket
 * the outbox knows that it was attempted, so that a reload sends it again as a retry. Knows
 * nothing of the state beyond its host's few questions.
 */

import type { ClientFrame, ConversationId, ErrorFrame, Ref } from '../wire.ts';
import type { ServerClock } from './clock.ts';
import { compareStamps, type Stamp } from './ids.ts';
import { type Failure, frameOf, type Intent, isAhead, needsStamp } from './intent.ts';
import { holds, type Remedy, remedyOf } from './remedy.ts';
import { fits } from './text.ts';

/** Intents of one lane that are under way at once: well below what the server lets wait. */
const FLYING = 64;

/** The first wait after an answer that names none, and the longest. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** The longest wait before a first attempt that was ahead goes out with another stamp. */
const AHEAD_WAIT_MS = 3_000;

/** Why a text is not even written: its frame would end the session. */
const TOO_LONG: Failure = {
  code: 'text_too_long',
  text: 'the text is too long: send it in parts',
};

/**
 * Tells whether a stamp was further ahead than any node takes, or waits with: then no earlier
 * attempt of it was written either.
 */
function isFarAhead({ code, retry_after_ms: after = 0 }: ErrorFrame): boolean {
  return code === 'ahead' && after > LONGEST_WAIT_MS;
}

/** What the sender needs from the client. */
export interface SenderHost {
  /** Everything that waits, in order. */
  intents(): readonly Intent[];
  /** Makes the state and the outbox know a change; resolves once it survives a reload. */
  change(intents: readonly Intent[]): Promise<void>;
  /** Tells above what a new stamp must be, and the newest id shown. */
  floor(conversation: ConversationId): { readonly stamp: Stamp; readonly after?: string };
  /** Writes to the socket; false when there is none. */
  send(frame: ClientFrame): boolean;
}

interface Lane {
  /** What is under way, and whether that attempt was its stamp's first. */
  readonly flying: Map<Ref, { readonly first: boolean; readonly since: number }>;
  /** Something was refused: nothing goes out before all that is under way is answered. */
  stopped: boolean;
  /** Not before this time of the local clock. */
  notBefore: number;
  /** Refusals in a row. */
  tries: number;
  /** What the server holds the lane for. */
  readonly holding: Set<Ref>;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Sends intents over whichever connection there is. */
export class Sender {
  readonly #host: SenderHost;
  readonly #clock: ServerClock;
  readonly #lanes = new Map<ConversationId, Lane>();
  /** What was confirmed by showing it while an attempt was under way, whose answer is to come. */
  readonly #unanswered = new Map<Ref, ConversationId>();
  /** Counts connections: what was prepared for one is not written to the next. */
  #connection = 0;
  #connected = false;
  #work: Promise<void> = Promise.resolve();

  /** Sends for `host`, with stamps of `clock`. */
  constructor(host: SenderHost, clock: ServerClock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** A session is open: sends everything that waits. */
  connected(): void {
    this.#forgetLanes();
    this.#connected = true;
    for (const intent of this.#host.intents()) this.#lane(intent.conversation);
    for (const conversation of this.#lanes.keys()) this.flush(conversation);
  }

  /** The session is gone: what was under way may have been written. */
  disconnected(): void {
    this.#connected = false;
    this.#forgetLanes();
  }

  #forgetLanes(): void {
    this.#connection += 1;
    for (const lane of this.#lanes.values()) clearTimeout(lane.timer);
    this.#lanes.clear();
    this.#unanswered.clear();
  }

  #lane(conversation: ConversationId): Lane {
    const known = this.#lanes.get(conversation);
    if (known !== undefined) return known;
    const lane: Lane = {
      flying: new Map(),
      stopped: false,
      notBefore: 0,
      tries: 0,
      holding: new Set(),
      timer: undefined,
    };
    this.#lanes.set(conversation, lane);
    return lane;
  }

  /** Sends what of a conversation may go out now. */
  flush(conversation: ConversationId): void {
    // One at a time, so that what was meant first is written first.
    this.#work = this.#work.then(() => this.#flush(conversation)).catch(() => {});
  }

  async #flush(conversation: ConversationId): Promise<void> {
    if (!this.#connected) return;
    const connection = this.#connection;
    const lane = this.#lane(conversation);
    if (lane.stopped && lane.flying.size > 0) return;
    const now = this.#clock.local();
    if (now < lane.notBefore) {
      clearTimeout(lane.timer);
      lane.timer = setTimeout(() => this.flush(conversation), lane.notBefore - now);
      return;
    }
    lane.stopped = false;
    const ready: Intent[] = [];
    const excessive: Intent[] = [];
    for (const intent of this.#ready(conversation, lane)) {
      (fits(frameOf(intent)) ? ready : excessive).push(intent);
    }
    for (const intent of excessive) await this.#fail(intent, TOO_LONG);
    if (ready.length === 0 || connection !== this.#connection) return;
    const attempted = ready.map((intent) => ({ ...intent, attempted: true }));
    for (const { ref, attempted: before } of ready) {
      lane.flying.set(ref, { first: !before, since: now });
    }
    await this.#host.change(attempted);
    if (connection !== this.#connection) return;
    for (const intent of ready) {
      this.#host.send(frameOf(intent));
      // Coming again it holds nothing any more.
      lane.holding.delete(intent.ref);
    }
  }

  /** Gives what may go out, stamped anew where needed so that stamps follow the order. */
  #ready(conversation: ConversationId, lane: Lane): readonly Intent[] {
    const ready: Intent[] = [];
    const before = new Map<Intent['kind'], Stamp>();
    const waiting = this.#waiting(conversation);
    const now = this.#clock.now();
    // Or the stamps to come would be ahead as these are.
    if (waiting.some((intent) => isAhead(intent, now))) this.#clock.lower(this.#written());
    for (const intent of waiting) {
      let next = intent;
      if (!lane.flying.has(intent.ref)) {
        const fresh = needsStamp(intent, now, before.get(intent.kind));
        next = fresh ? this.#restamped(conversation, intent) : intent;
        ready.push(next);
      }
      before.set(next.kind, next);
    }
    return ready;
  }

  #waiting(conversation: ConversationId): readonly Intent[] {
    return this.#host
      .intents()
      .filter((intent) => intent.conversation === conversation && intent.failed === undefined)
      .slice(0, FLYING);
  }

  /** Gives the largest stamp of an attempt that may have been written. */
  #written(): Stamp {
    return this.#host
      .intents()
      .filter((intent) => intent.attempted)
      .reduce<Stamp>((high, next) => (compareStamps(next, high) > 0 ? next : high), {
        at: 0,
        n: 0,
      });
  }

  #restamped(conversation: ConversationId, intent: Intent): Intent {
    const { stamp, after } = this.#host.floor(conversation);
    const { at, n } = this.#clock.stamp(stamp);
    const next = { ...intent, at, n, attempted: false };
    return next.kind === 'send' && after !== undefined ? { ...next, after } : next;
  }

  /** The server confirmed an intent, by `ack` or by showing the message. */
  confirmed(conversation: ConversationId, ref: Ref): void {
    const lane = this.#lanes.get(conversation);
    if (lane === undefined) return;
    if (lane.flying.delete(ref)) this.#unanswered.set(ref, conversation);
    lane.holding.delete(ref);
    lane.tries = 0;
    this.flush(conversation);
  }

  /** The server answered the attempt of an intent: nothing more comes about it. */
  answered(ref: Ref): void {
    this.#unanswered.delete(ref);
  }

  /**
   * The server refused an attempt of what is confirmed already: it was stored by an earlier one, and
   * does not come again. Unless it is given up, the server holds the conversation for it.
   */
  refusedAfterAll(ref: Ref, error: ErrorFrame): void {
    const conversation = this.#unanswered.get(ref);
    this.#unanswered.delete(ref);
    if (conversation === undefined || !holds(remedyOf(error))) return;
    this.#host.send({ type: 'forget', ref, conversation });
    this.flush(conversation);
  }

  /** The server refused an intent. */
  async refused(intent: Intent, error: ErrorFrame): Promise<void> {
    const { conversation, ref } = intent;
    const lane = this.#lane(conversation);
    const first = (lane.flying.get(ref)?.first ?? !intent.attempted) || isFarAhead(error);
    lane.flying.delete(ref);
    const remedy = remedyOf(error);
    if (error.now !== undefined) this.#clock.hear(error.now);
    if (remedy === 'fail') return this.#fail(intent, { code: error.code, text: error.text });
    lane.stopped = true;
    if (remedy !== 'held') {
      lane.holding.add(ref);
      lane.tries += 1;
    }
    // A `held` behind nothing that this lane knows would otherwise be sent at once for ever.
    const alone = remedy === 'held' && lane.holding.size === 0;
    if (alone) lane.tries += 1;
    if (remedy === 'wait' || remedy === 'again' || alone) {
      const longest = error.code === 'ahead' && first ? AHEAD_WAIT_MS : LONGEST_WAIT_MS;
      const wait = Math.min(error.retry_after_ms ?? waitAfter(lane.tries), longest);
      lane.notBefore = this.#clock.local() + wait;
    }
    await this.#host.change([this.#mended(intent, remedy, first)]);
    this.flush(conversation);
  }

  /** Gives an intent up for good, and the lane goes on. */
  async #fail(intent: Intent, failed: Failure): Promise<void> {
    const { conversation, ref } = intent;
    // An earlier refusal of this ref may still hold the lane at the server.
    if (this.#lane(conversation).holding.delete(ref)) {
      this.#host.send({ type: 'forget', ref, conversation });
    }
    await this.#host.change([{ ...intent, failed }]);
    this.flush(conversation);
  }

  #mended(intent: Intent, remedy: Remedy, first: boolean): Intent {
    // It must not keep the refused stamp: the same one would be refused again.
    if (remedy === 'restamp') return this.#restamped(intent.conversation, intent);
    if (remedy === 'again') return { ...intent, attempted: true };
    // Nothing was written by this attempt; of an earlier one that is not known.
    return { ...intent, attempted: !first };
  }

  /** Gives an intent up that the user does not want any more. */
  dropped(intent: Intent): void {
    const { conversation, ref } = intent;
    const lane = this.#lanes.get(conversation);
    if (lane?.holding.delete(ref)) this.#host.send({ type: 'forget', ref, conversation });
    lane?.flying.delete(ref);
    this.flush(conversation);
  }

  /** Tells for how long the oldest intent under way has had no answer, counted from `from` on. */
  waitingMs(from = 0): number {
    const now = this.#clock.local();
    let longest = 0;
    for (const lane of this.#lanes.values()) {
      for (const { since } of lane.flying.values()) {
        longest = Math.max(longest, now - Math.max(since, from));
      }
    }
    return longest;
  }
}

function waitAfter(tries: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (tries - 1));
}
