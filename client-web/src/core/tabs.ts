/**
 * Which client this tab is, and whether other clients' tabs are still there.
 *
 * A client id lives in the tab's session storage. A duplicated tab copies it; who finds it in
 * use takes a new one. A tab proves that it lives by holding a lock named by its id, or, where a
 * page may not use locks (plain http from another machine), by answering on a channel.
 */

import type { ClientId } from '../wire.ts';
import { newUuid } from './ids.ts';

const KEY = 'rally.client';

/** A reload gives the lock free a moment after the new page begins. */
const RELEASE_MS = 800;

/** How long a living tab may take to answer on the channel. */
const ANSWER_MS = 300;

/** Tells living clients from dead ones. */
export interface Liveness {
  /** Takes `client` until this page lets it go or is gone; false when another tab has it. */
  take(client: ClientId): Promise<boolean>;
  /** Lets `client` go: what it left may be taken over. */
  leave(client: ClientId): void;
  /** Runs `work` if no tab lives under `client`, while none can begin to. */
  ifDead(client: ClientId, work: () => Promise<void>): Promise<void>;
}

function lockOf(client: ClientId): string {
  return `rally-client-${client}`;
}

/** Proves life by Web Locks. */
export class Locks implements Liveness {
  readonly #locks: LockManager;
  readonly #release = new Map<ClientId, () => void>();

  /** Takes locks from `locks`. */
  constructor(locks: LockManager) {
    this.#locks = locks;
  }

  take(client: ClientId): Promise<boolean> {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), RELEASE_MS);
    return new Promise((resolve) => {
      this.#locks
        .request(lockOf(client), { signal: patience.signal }, () => {
          clearTimeout(timer);
          resolve(true);
          // Held until it is let go, or the page is gone.
          return new Promise<void>((release) => this.#release.set(client, release));
        })
        .catch(() => resolve(false));
    });
  }

  leave(client: ClientId): void {
    this.#release.get(client)?.();
    this.#release.delete(client);
  }

  async ifDead(client: ClientId, work: () => Promise<void>): Promise<void> {
    await this.#locks.request(lockOf(client), { ifAvailable: true }, async (lock) => {
      if (lock !== null) await work();
    });
  }
}

type Word = { readonly ask: ClientId } | { readonly here: ClientId };

/**
 * Proves life by answering on a channel. A frozen tab does not answer and is taken for dead;
 * what it left is then sent by two, which is harmless: a ref is one intent, whoever sends it.
 */
export class Calls implements Liveness {
  readonly #channel: BroadcastChannel;
  readonly #mine = new Set<ClientId>();

  /** Calls on `channel`. */
  constructor(channel: BroadcastChannel) {
    this.#channel = channel;
    channel.addEventListener('message', ({ data }: MessageEvent<Word>) => {
      if ('ask' in data && this.#mine.has(data.ask)) this.#say({ here: data.ask });
    });
  }

  #say(word: Word): void {
    this.#channel.postMessage(word);
  }

  #lives(client: ClientId): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (lives: boolean) => {
        clearTimeout(timer);
        this.#channel.removeEventListener('message', hear);
        resolve(lives);
      };
      const hear = ({ data }: MessageEvent<Word>) => {
        if ('here' in data && data.here === client) finish(true);
      };
      const timer = setTimeout(() => finish(false), ANSWER_MS);
      this.#channel.addEventListener('message', hear);
      this.#say({ ask: client });
    });
  }

  async take(client: ClientId): Promise<boolean> {
    if (await this.#lives(client)) return false;
    this.#mine.add(client);
    return true;
  }

  leave(client: ClientId): void {
    this.#mine.delete(client);
  }

  async ifDead(client: ClientId, work: () => Promise<void>): Promise<void> {
    if (!this.#mine.has(client) && !(await this.#lives(client))) await work();
  }
}

/** Gives the way to prove life that this page may use. */
export function livenessHere(): Liveness {
  // Undefined outside secure contexts, whatever the types say.
  const locks = navigator.locks as LockManager | undefined;
  return locks ? new Locks(locks) : new Calls(new BroadcastChannel('rally-tabs'));
}

/** Gives this tab's client id: the one it had before a reload, or a new one. */
export async function takeClient(
  liveness: Liveness,
  storage: Pick<Storage, 'getItem' | 'setItem'>,
): Promise<ClientId> {
  const before = storage.getItem(KEY);
  if (before !== null && (await liveness.take(before))) return before;
  const fresh = newUuid();
  storage.setItem(KEY, fresh);
  await liveness.take(fresh);
  return fresh;
}
