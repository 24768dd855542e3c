/**
 * The peer of the open conversation: his presence is watched while it is open, he is told when
 * the user writes, and that he writes is shown for a while.
 */

import type { UserId } from '../wire.ts';
import { headId } from './conversation.ts';
import type { Host } from './host.ts';
import { NONE } from './ids.ts';
import { TYPING_MS } from './reducer.ts';

/** The shortest time between two `typing` frames. */
const TYPING_EVERY_MS = 3000;

/** Watches the peer of the open conversation. */
export class Company {
  readonly #host: Host;
  #watched: UserId | undefined;
  #typingAt = 0;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  /** Sends by `host`. */
  constructor(host: Host) {
    this.#host = host;
  }

  /** A session was lost, and with it what it watched. */
  disconnected(): void {
    this.#watched = undefined;
  }

  /** Sees to it that exactly the peer of the open conversation is watched. */
  update(): void {
    const { open, conversations, me, status } = this.#host.state();
    if (status.phase !== 'live') return;
    const conversation = open === undefined ? undefined : conversations[open];
    // Only who shares a conversation may be watched, and it begins with its first message.
    const begun = conversation !== undefined && headId(conversation) !== NONE;
    const peer = begun && conversation.peer !== me ? conversation.peer : undefined;
    if (peer === this.#watched) return;
    if (this.#watched !== undefined) this.#host.send({ type: 'unwatch', user: this.#watched });
    this.#watched = peer;
    if (peer !== undefined) this.#host.send({ type: 'watch', user: peer });
  }

  /** The user is writing. */
  writing(): void {
    const { open, conversations, me } = this.#host.state();
    const conversation = open === undefined ? undefined : conversations[open];
    if (conversation === undefined || conversation.peer === me) return;
    const now = Date.now();
    if (headId(conversation) === NONE || now - this.#typingAt < TYPING_EVERY_MS) return;
    const sent = this.#host.send({ type: 'typing', conversation: conversation.id });
    if (sent) this.#typingAt = now;
  }

  /** The user has sent what he wrote: the next key is news again. */
  wrote(): void {
    this.#typingAt = 0;
  }

  /** The peer writes; that is over unless he is heard again. */
  peerWrites(): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#host.dispatch({ type: 'typing_over', now: Date.now() });
    }, TYPING_MS + 50);
    this.#timers.add(timer);
  }

  /** Stops all timers. */
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
