/**
 * What was meant a moment ago, until the database has it; where there is none, until it is done.
 *
 * A page that goes away may take a transaction with it that waits for its turn. The tab's session
 * storage is written before the call returns, and survives a reload. Knows nothing of the database.
 */

import type { Ref, UserId } from '../../wire.ts';
import type { Intent } from '../intent.ts';

const PREFIX = 'rally.meant.';

/** What the journal needs of a tab's session storage. */
export type Storage = Pick<
  globalThis.Storage,
  'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'
>;

/** The intents of one tab that may not be in the database yet. */
export class Journal {
  readonly #storage: Storage;

  /** Writes to `storage`. */
  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Writes entries down at once; false when there is no room, and only the database keeps them. */
  add(intents: readonly Intent[]): boolean {
    try {
      for (const intent of intents) {
        this.#storage.setItem(PREFIX + intent.ref, JSON.stringify(intent));
      }
      return true;
    } catch {
      return false;
    }
  }

  /** Strikes entries out. */
  remove(refs: readonly Ref[]): void {
    for (const ref of refs) this.#storage.removeItem(PREFIX + ref);
  }

  /** Lists the entries of a user. */
  of(user: UserId): readonly Intent[] {
    const all = this.#keys().flatMap((key) => {
      const text = this.#storage.getItem(key);
      return text === null ? [] : [JSON.parse(text) as Intent];
    });
    return all.filter((intent) => intent.user === user);
  }

  #keys(): readonly string[] {
    const all = Array.from({ length: this.#storage.length }, (_, i) => this.#storage.key(i));
    return all.filter((key) => key?.startsWith(PREFIX)) as string[];
  }
}
