/**
 * One client's way into the cache: one thing after the other, and what is done when that fails.
 *
 * A write that fails is the last one, as its rows would be missing under all that follows. When
 * there is no room, what the user's tabs keep gives way, once for each of them, and all begin anew.
 * After a log-out, in another tab perhaps, nothing more is written. Knows nothing of what is written.
 */

import type { ClientId, UserId } from '../wire.ts';
import { type Cache, Forgotten } from './store/cache.ts';
import { isFull } from './store/idb.ts';
import type { Liveness } from './tabs.ts';

/** Whom a writer tells. */
export interface WriterHost {
  /** Hears why nothing more is written. */
  trouble(error: unknown): void;
  /** Hears that what was kept had to be deleted. */
  emptied(): void;
}

/** Writes to the cache. */
export class Writer {
  readonly #cache: Cache | undefined;
  readonly #user: UserId;
  readonly #client: ClientId;
  readonly #host: WriterHost;
  #work: Promise<void> = Promise.resolve();
  #isStopped: boolean;
  #hasMadeRoom = false;
  /** What was deleted here before this client began; above all until that is known. */
  #generation = Number.MAX_SAFE_INTEGER;

  /** Writes to `cache`, or nowhere without one. */
  constructor(cache: Cache | undefined, user: UserId, client: ClientId, host: WriterHost) {
    this.#cache = cache;
    this.#user = user;
    this.#client = client;
    this.#host = host;
    this.#isStopped = cache === undefined;
  }

  /** Begins, before anything is read: what is deleted from now on is deleted for this client, too. */
  async begin(): Promise<void> {
    await this.read(async (cache) => {
      this.#generation = await cache.begin(this.#user);
    });
  }

  /** Tells whether nothing is written any more. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Tells in which generation is written. */
  get generation(): number {
    return this.#generation;
  }

  /** Resolves when everything is written that was to be written so far. */
  get done(): Promise<void> {
    return this.#work;
  }

  /** Writes when its turn comes. */
  write(write: (cache: Cache) => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      await this.read(write);
    });
  }

  /** Reads at once; gives nothing when that cannot be. */
  async read<T>(read: (cache: Cache) => Promise<T>): Promise<T | undefined> {
    if (this.#cache === undefined || this.#isStopped) return undefined;
    try {
      return await read(this.#cache);
    } catch (error) {
      await this.#failed(error);
      return undefined;
    }
  }

  async #failed(error: unknown): Promise<void> {
    if (error instanceof Forgotten) this.#forgotten(error);
    else if (!(isFull(error) && (await this.#empty()))) this.#stop(error);
  }

  /** What was kept is gone, and with it what this client concludes from it. */
  #forgotten({ next }: Forgotten): void {
    if (next === undefined) this.abandon();
    // Else it is known: this was to be written before.
    else if (next !== this.#generation) this.#beginAnew(next);
  }

  #beginAnew(generation: number): void {
    this.#generation = generation;
    this.#host.emptied();
  }

  /** Deletes what is kept, once; false when that cannot help. */
  async #empty(): Promise<boolean> {
    if (this.#cache === undefined || this.#isStopped || this.#hasMadeRoom) return false;
    this.#hasMadeRoom = true;
    let generation: number;
    try {
      generation = await this.#cache.forget(this.#user, 'room');
    } catch {
      return false;
    }
    this.#beginAnew(generation);
    return true;
  }

  /** Deletes what is kept to make room for something else; false when there is nothing to gain. */
  makeRoom(): Promise<boolean> {
    const emptied = this.#work.then(() => this.#empty());
    this.#work = emptied.then(() => {});
    return emptied;
  }

  #stop(error: unknown): void {
    this.abandon();
    this.#cache?.dropClaim(this.#user, this.#client).catch(() => {});
    this.#host.trouble(error);
  }

  /** Writes nothing more. */
  abandon(): void {
    this.#isStopped = true;
  }

  /** Deletes everything that the user's tabs keep here, and writes nothing more. */
  async forget(): Promise<void> {
    this.abandon();
    await this.#work;
    await this.#cache?.forget(this.#user);
  }

  /**
   * Deletes what the user's tabs keep here by this client's log-in, and writes nothing more. A tab that
   * slept may hear that it is over when he has long logged in again.
   */
  async forgetLogIn(): Promise<void> {
    this.abandon();
    await this.#work;
    await this.#cache?.forgetLogIn(this.#user, this.#generation);
  }

  /** Drops what clients may conclude whose tabs are gone. */
  async dropDead(liveness: Liveness): Promise<void> {
    const owners = await this.read((cache) => cache.claimants(this.#user));
    for (const owner of owners ?? []) {
      if (owner === this.#client) continue;
      await liveness.ifDead(owner, async () => {
        await this.#cache?.dropClaim(this.#user, owner);
      });
    }
  }
}
