/**
 * Whether the session still lives: asks for the server's time now and then, and gives a session up
 * that does not answer.
 *
 * Before its catch-up has begun the server answers a beat at once, and nothing else, nor what comes
 * behind it. Who has written something by then is more patient: he would leave the queue of a loaded
 * server, and join it again at its end. Knows nothing of what frames mean beyond these.
 */

import type { ClientFrame, ServerFrame } from '../wire.ts';
import type { ServerClock } from './clock.ts';
import type { Status } from './state.ts';

/** How long the answer to a beat may take. */
const ANSWER_MS = 10_000;

/** How long the answer to something that was meant may take. */
const LONGEST_SEND_MS = 40_000;

/** How long either may take while the catch-up has not begun. */
const QUEUE_MS = 60_000;

/** What a pulse needs. */
export interface PulseHost {
  /** Writes to the socket; false when no session is open. */
  send(frame: ClientFrame): boolean;
  /** For how long something that was meant has had no answer, counted from a local time on. */
  waitingMs(from: number): number;
  /** Makes another session. */
  renew(): void;
}

/** Feels the pulse of one connection after the other. */
export class Pulse {
  readonly #host: PulseHost;
  readonly #clock: ServerClock;
  #phase: Status['phase'] = 'connecting';
  #liveAt = 0;
  #hasWritten = false;
  #asked: number | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  /** Sets `clock` by what the server answers. */
  constructor(host: PulseHost, clock: ServerClock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** Learns how the connection stands. */
  turn({ phase }: Status): void {
    if (phase === 'catching_up') this.#hasWritten = false;
    if (phase === 'live' && this.#phase !== 'live') this.#liveAt = this.#clock.local();
    this.#phase = phase;
    if (phase !== 'live' && phase !== 'catching_up') this.stop();
  }

  /** Learns what was written to the socket. */
  wrote({ type }: ClientFrame): void {
    if (type !== 'beat') this.#hasWritten = true;
  }

  /** Learns that the server said something. */
  heard(frame: ServerFrame): void {
    this.stop();
    if (frame.type === 'welcome') this.#clock.hear(frame.now);
    if (frame.type === 'beat') this.#clock.hear(frame.now, this.#asked);
  }

  get #isQueued(): boolean {
    return this.#phase === 'catching_up' && this.#hasWritten;
  }

  /** Gives a session up that leaves something unanswered; else asks, if anybody is `looking`. */
  tick(looking: boolean): void {
    // What was written in the queue is read when it is over.
    const from = this.#isQueued ? 0 : this.#liveAt;
    const patience = this.#isQueued ? QUEUE_MS : LONGEST_SEND_MS;
    if (this.#host.waitingMs(from) > patience) this.#host.renew();
    else if (looking) this.ask();
  }

  /** Asks for the server's time, unless it is being asked. */
  ask(): void {
    if (this.#deadline !== undefined) return;
    const patience = this.#isQueued ? QUEUE_MS : ANSWER_MS;
    this.#asked = this.#clock.local();
    if (!this.#host.send({ type: 'beat' })) return;
    this.#deadline = setTimeout(() => {
      this.#deadline = undefined;
      this.#host.renew();
    }, patience);
  }

  /** Waits for no answer any more. */
  stop(): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }
}
