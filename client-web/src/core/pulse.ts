/**
 * Whether the session still lives: asks for the server's time now and then, and gives a session up
 * that does not answer.
 *
 * A server that reads nothing for a while, because it is loaded or its store does not answer, says a
 * beat unasked now and then: whoever hears it does not take it for dead, and does not join its queue
 * again at the end, unless what he wrote waits for very long. Knows nothing of what frames mean beyond
 * these.
 */

import type { ClientFrame, ServerFrame } from '../wire.ts';
import type { ServerClock } from './clock.ts';
import type { Status } from './state.ts';

/** How long nothing may be heard after a beat. */
const ANSWER_MS = 10_000;

/** How long a live session may take to answer something that was meant. */
const LONGEST_SEND_MS = 40_000;

/** How long it may wait while the catch-up has not ended: another node may be better off. */
const LONGEST_QUEUE_MS = 180_000;

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
  #asked: number | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  /** Sets `clock` by what the server answers. */
  constructor(host: PulseHost, clock: ServerClock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** Learns how the connection stands. */
  turn({ phase }: Status): void {
    if (phase === 'live' && this.#phase !== 'live') this.#liveAt = this.#clock.local();
    this.#phase = phase;
    if (phase !== 'live' && phase !== 'catching_up') this.stop();
  }

  /** Learns that the server said something. */
  heard(frame: ServerFrame): void {
    this.stop();
    if (frame.type === 'welcome') this.#clock.hear(frame.now);
    if (frame.type !== 'beat') return;
    // What was asked lies unread: its answer says nothing of the way, nor does this one.
    if (frame.unasked) this.#asked = undefined;
    else this.#clock.hear(frame.now, this.#asked);
  }

  /** Gives a session up that leaves something unanswered; else asks, if anybody is `looking`. */
  tick(looking: boolean): void {
    // What was written in the queue is read when it is over.
    const [from, patience] =
      this.#phase === 'live' ? [this.#liveAt, LONGEST_SEND_MS] : [0, LONGEST_QUEUE_MS];
    if (this.#host.waitingMs(from) > patience) this.#host.renew();
    else if (looking) this.ask();
  }

  /** Asks for the server's time, unless it is being asked. */
  ask(): void {
    if (this.#deadline !== undefined) return;
    this.#asked = this.#clock.local();
    if (!this.#host.send({ type: 'beat' })) return;
    this.#deadline = setTimeout(() => {
      this.stop();
      this.#host.renew();
    }, ANSWER_MS);
  }

  /** Waits for no answer any more. */
  stop(): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }
}
