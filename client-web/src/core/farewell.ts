/**
 * Tells the other tabs of this browser that a user has logged out.
 *
 * The server says `bye` to each session of a log-in that is over, wherever it was ended; only this
 * says that the user chose to lose what his tabs keep. Knows nothing of what a tab does then.
 */

import type { UserId } from '../wire.ts';

interface Word {
  readonly loggedOut: UserId;
}

/** What a farewell needs of a channel. */
export type Channel = Pick<BroadcastChannel, 'postMessage' | 'addEventListener'>;

/** Says and hears that somebody has logged out. */
export class Farewell {
  readonly #channel: Channel;

  /** Speaks on `channel`. */
  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Tells all other tabs that `user` has logged out in this one. */
  say(user: UserId): void {
    this.#channel.postMessage({ loggedOut: user } satisfies Word);
  }

  /** Calls `act` when `user` logs out in another tab. */
  hear(user: UserId, act: () => void): void {
    this.#channel.addEventListener('message', ({ data }: MessageEvent<Word>) => {
      if (data.loggedOut === user) act();
    });
  }
}
