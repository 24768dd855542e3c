/**
 * What was meant a moment ago, until the database has it.
 *
 * A page that goes away may take a transaction with it that waits for its turn. The tab's session
 * storage is written before the call returns, and survives a reload. Knows nothing of the database.
 */

import type { Ref } from '../../wire.ts';
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

  /** Writes entries down at once. Without room for them only the database keeps them. */
  add(intents: readonly Intent[]): void {
    try {
      for (const intent of intents) {
        this.#storage.setItem(PREFIX + intent.ref, JSON.stringify(intent));
      }
    } catch {
      // Full, or not to be had: the database is asked all the same.
    }
  }

  /** Strikes entries out. */
  remove(refs: readonly Ref[]): void {
    for (const ref of refs) this.#storage.removeItem(PREFIX + ref);
  }

  /** Lists the entries. */
  all(): readonly Intent[] {
    return this.#keys().flatMap((key) => {
      const text = this.#storage.getItem(key);
      return text === null ? [] : [JSON.parse(text) as Intent];
    });
  }

  /** Strikes everything out. */
  clear(): void {
    for (const key of this.#keys()) this.#storage.removeItem(key);
  }

  #keys(): readonly string[] {
    const all = Array.from({ length: this.#storage.length }, (_, i) => this.#storage.key(i));
    return all.filter((key) => key?.startsWith(PREFIX)) as string[];
  }
}
