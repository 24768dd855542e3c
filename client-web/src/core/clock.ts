/**
 * The server's time as this client knows it, and the stamps of what it sends.
 *
 * Learns from `welcome`, `beat` and from errors that tell the time. Keeps no timers.
 */

import { compareStamps, type Stamp, stampAfter } from './ids.ts';

/**
 * Runs on steadily, whatever is done to the machine's date. It may stand still while the machine
 * sleeps; the server is heard again after that.
 */
function steady(): number {
  return performance.timeOrigin + performance.now();
}

/** Follows the server's clock by an offset to the local one. */
export class ServerClock {
  #offset = 0;
  #heard = false;
  #last: Stamp = { at: 0, n: 0 };

  /** Gives the local time: good for spans, and says nothing of the date. */
  readonly local: () => number;

  /** Reads the local clock by `local`. */
  constructor(local: () => number = steady) {
    this.local = local;
  }

  /**
   * Learns that the server's clock showed `now`.
   *
   * With `asked`, the local time at which the question left, half of the way there and back is
   * added; without it the estimate is late by the time of the way.
   */
  hear(now: number, asked?: number): void {
    const local = this.local();
    // A machine that slept meanwhile would make the way absurd.
    const way = asked === undefined ? 0 : Math.min(Math.max(local - asked, 0), 10_000);
    this.#offset = now + way / 2 - local;
    // Stamps made by the local clock alone were never sent, and may lie far ahead.
    if (!this.#heard) this.#last = { at: 0, n: 0 };
    this.#heard = true;
  }

  /** Gives the server's time in milliseconds. */
  now(): number {
    return Math.round(this.local() + this.#offset);
  }

  /** Takes back the stamps above `written`, the largest that may stand anywhere. */
  lower(written: Stamp): void {
    if (compareStamps(this.#last, written) > 0) this.#last = written;
  }

  /** Makes a stamp: the present, but above `floor` and above every stamp made before. */
  stamp(floor: Stamp): Stamp {
    const present = { at: this.now(), n: 0 };
    const above = compareStamps(floor, this.#last) > 0 ? floor : this.#last;
    this.#last = compareStamps(present, above) > 0 ? present : stampAfter(above);
    return this.#last;
  }
}
