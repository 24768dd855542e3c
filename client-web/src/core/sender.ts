/**
 * When what was meant is sent, and what is done about the answer.
 *
 * Conversations are lanes: within one, intents go out in order, many at a time. A refusal that
 * can be mended stops the lane until everything under way is answered (the server answers it
 * `held`); then the lane goes on from its first intent. Before anything is written to the socket
 * the outbox knows that it was attempted, so that a reload sends it again as a retry. Knows
 * nothing of the state beyond its host's few questions.
 */

import type { ClientFrame, ConversationId, ErrorCode, ErrorFrame, Ref } from '../wire.ts';
import type { ServerClock } from './clock.ts';
import type { Stamp } from './ids.ts';
import { type Failure, frameOf, type Intent, needsStamp } from './intent.ts';

/** Intents of one lane that are under way at once: well below what the server lets wait. */
const FLYING = 64;

/** The first wait after an answer that names none, and the longest. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** What is done about an error: stamp anew; wait, since nothing was written; ask again; give up. */
type Remedy = 'restamp' | 'wait' | 'held' | 'again' | 'fail';

const REMEDIES: { readonly [code in ErrorCode]: Remedy } = {
  bad_frame: 'fail',
  unknown_type: 'fail',
  binary_frame: 'fail',
  hello_expected: 'fail',
  bad_ticket: 'fail',
  too_many_sessions: 'fail',
  text_empty: 'fail',
  text_too_long: 'fail',
  clock: 'restamp',
  ahead: 'wait',
  expired: 'restamp',
  ref_conflict: 'fail',
  held: 'held',
  unknown: 'again',
  rate: 'wait',
  busy: 'wait',
  unreachable: 'fail',
  unknown_conversation: 'fail',
  unknown_message: 'fail',
  message_deleted: 'fail',
  too_many_watches: 'fail',
  internal: 'again',
};

/** A newer server's code is understood by what the frame says about sending again. */
function remedyOf({ code, retry }: ErrorFrame): Remedy {
  return REMEDIES[code] ?? (retry ? 'again' : 'fail');
}

/** Tells whether the server holds a conversation for what it refused. */
function holds(remedy: Remedy): boolean {
  return remedy !== 'fail' && remedy !== 'held';
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
  /** Not before this local time. */
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
    const now = Date.now();
    if (now < lane.notBefore) {
      clearTimeout(lane.timer);
      lane.timer = setTimeout(() => this.flush(conversation), lane.notBefore - now);
      return;
    }
    lane.stopped = false;
    const ready = this.#ready(conversation, lane);
    if (ready.length === 0) return;
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
    for (const intent of this.#waiting(conversation)) {
      let next = intent;
      if (!lane.flying.has(intent.ref)) {
        const fresh = needsStamp(intent, this.#clock.now(), before.get(intent.kind));
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

  /** The server refused an intent. Gives the failure when that is for good. */
  async refused(intent: Intent, error: ErrorFrame): Promise<Failure | undefined> {
    const { conversation, ref } = intent;
    const lane = this.#lane(conversation);
    const first = lane.flying.get(ref)?.first ?? !intent.attempted;
    lane.flying.delete(ref);
    const remedy = remedyOf(error);
    if (error.now !== undefined) this.#clock.hear(error.now);
    if (remedy === 'fail') {
      // An earlier refusal of this ref may still hold the lane at the server.
      if (lane.holding.delete(ref)) this.#host.send({ type: 'forget', ref, conversation });
      const failed = { code: error.code, text: error.text };
      await this.#host.change([{ ...intent, failed }]);
      this.flush(conversation);
      return failed;
    }
    lane.stopped = true;
    if (remedy !== 'held') {
      lane.holding.add(ref);
      lane.tries += 1;
    }
    // A `held` behind nothing that this lane knows would otherwise be sent at once for ever.
    const alone = remedy === 'held' && lane.holding.size === 0;
    if (alone) lane.tries += 1;
    if (remedy === 'wait' || remedy === 'again' || alone) {
      lane.notBefore = Date.now() + (error.retry_after_ms ?? waitAfter(lane.tries));
    }
    await this.#host.change([this.#mended(intent, remedy, first)]);
    this.flush(conversation);
    return undefined;
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

  /** Tells how long the oldest intent under way has had no answer. */
  waitingMs(): number {
    const now = Date.now();
    let longest = 0;
    for (const lane of this.#lanes.values()) {
      for (const { since } of lane.flying.values()) longest = Math.max(longest, now - since);
    }
    return longest;
  }
}

function waitAfter(tries: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (tries - 1));
}
