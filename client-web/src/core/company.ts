/**
 * The people on the screen: their presence is watched while they are there, the peer of the open
 * conversation is told when the user writes, and that he writes is shown for a while.
 */

import type { UserId } from '../wire.ts';
import { headId } from './conversation.ts';
import type { Host } from './host.ts';
import { NONE } from './ids.ts';
import { TYPING_MS } from './reducer.ts';

/** The shortest time between two `typing` frames. */
const TYPING_EVERY_MS = 3000;

/** Watches who is on the screen. */
export class Company {
  readonly #host: Host;
  #onScreen: readonly UserId[] = [];
  readonly #watched = new Set<UserId>();
  #typingAt = 0;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  /** Sends by `host`. */
  constructor(host: Host) {
    this.#host = host;
  }

  /** A session was lost, and with it what it watched. */
  disconnected(): void {
    this.#watched.clear();
  }

  /** Learns whose lines of the inbox are on the screen. */
  look(users: readonly UserId[]): void {
    this.#onScreen = users;
    this.update();
  }

  /** Sees to it that exactly who is on the screen is watched. */
  update(): void {
    if (this.#host.state().status.phase !== 'live') return;
    const wanted = this.#wanted();
    // Given up first: a session may watch so many and no more.
    for (const user of this.#watched) {
      if (wanted.has(user)) continue;
      this.#watched.delete(user);
      this.#host.send({ type: 'unwatch', user });
    }
    for (const user of wanted) {
      if (this.#watched.has(user)) continue;
      this.#watched.add(user);
      this.#host.send({ type: 'watch', user });
    }
  }

  /** Names whom to watch: the peer of the open conversation before all others. */
  #wanted(): ReadonlySet<UserId> {
    const { open, conversations, me, watches } = this.#host.state();
    // Only who shares a conversation may be watched, and it begins with its first message.
    const begun = new Set(
      Object.values(conversations)
        .filter((conversation) => headId(conversation) !== NONE)
        .map(({ peer }) => peer),
    );
    const peer = open === undefined ? undefined : conversations[open]?.peer;
    const seen = peer === undefined ? this.#onScreen : [peer, ...this.#onScreen];
    const allowed = [...new Set(seen)].filter((user) => user !== me && begun.has(user));
    return new Set(allowed.slice(0, watches));
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
