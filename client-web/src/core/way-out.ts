/**
 * The way out that a user takes in this tab: his log-in is ended, what he left on the machine is
 * forgotten, and the page begins anew.
 *
 * The server says twice that a log-in is over, by its answer and by its `bye`: either may come first,
 * and either may be lost. Knows nothing of pages, nor of what is forgotten.
 */

import type { Ref } from '../wire.ts';
import { isLoggedOut, type State } from './state.ts';

/** What a way out needs. */
export interface WayOutHost {
  state(): State;
  /** Calls `listener` after every change of the state. */
  subscribe(listener: () => void): void;
  /** Deletes what the user left on this machine. */
  forget(): Promise<void>;
  /** Loads the page from the beginning: nothing of this user's stays in it. */
  beginAnew(): void;
}

/** A tab's way out. */
export class WayOut {
  readonly #host: WayOutHost;
  /** What the server says to the user's last wish to leave; nothing before he has one. */
  #answer: Promise<void> | undefined;
  /** What waited when he was told that he could not. */
  #waited: ReadonlySet<Ref> | undefined;
  #gone: Promise<void> | undefined;

  /** Leads out of `host`. */
  constructor(host: WayOutHost) {
    this.#host = host;
    host.subscribe(() => {
      if (this.#wants && isLoggedOut(host.state())) void this.#go();
    });
  }

  /** Tells whether the user is on his way out. */
  get isTaken(): boolean {
    return this.#gone !== undefined;
  }

  /** Ends the log-in by `logout`, and leaves; throws why not, unless the log-in is over all the same. */
  async take(logout: () => Promise<void>): Promise<void> {
    this.#answer = logout();
    this.#waited = undefined;
    try {
      await this.#answer;
    } catch (error) {
      const state = this.#host.state();
      if (!isLoggedOut(state)) {
        // It may have been served: that the log-in is over is then heard later.
        this.#waited = new Set(state.intents.map(({ ref }) => ref));
        throw error;
      }
    }
    await this.#go();
  }

  /** Tells whether the user wants to leave: who went on writing after a failure has stayed. */
  get #wants(): boolean {
    const waited = this.#waited;
    if (waited === undefined) return this.#answer !== undefined;
    return this.#host.state().intents.every(({ ref }) => waited.has(ref));
  }

  #go(): Promise<void> {
    // The answer takes the cookie away, so it is waited for; what is kept goes at once.
    this.#gone ??= Promise.allSettled([this.#host.forget(), this.#answer]).then(() =>
      this.#host.beginAnew(),
    );
    return this.#gone;
  }
}
