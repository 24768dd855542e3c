/**
 * What was meant and not confirmed, kept on disk until it is.
 *
 * Each entry belongs to one client. When that client's tab is gone another one of the same user
 * adopts what it left, each entry once, because moving them is one transaction.
 */

import type { ClientId, Ref, UserId } from '../../wire.ts';
import { byOrder, type Intent } from '../intent.ts';
import { beginningWith, type Database, done } from './idb.ts';
import type { Journal } from './journal.ts';

/** The outboxes of one browser. */
export class Outbox {
  readonly #db: Database;
  readonly #journal: Journal;

  /** Keeps its entries in `db`, and until they are there in `journal`. */
  constructor(db: Database, journal: Journal) {
    this.#db = db;
    this.#journal = journal;
  }

  /**
   * Stores entries, new or changed. They survive a reload from now on, and the end of the tab once
   * the promise resolves.
   */
  async put(intents: readonly Intent[]): Promise<void> {
    if (intents.length === 0) return;
    this.#journal.add(intents);
    await this.#db.within(['outbox'], 'readwrite', (table) => {
      for (const intent of intents) table('outbox').put(intent);
    });
    this.#journal.remove(intents.map((intent) => intent.ref));
  }

  /** Removes what was confirmed or given up. */
  async remove(user: UserId, refs: readonly Ref[]): Promise<void> {
    this.#journal.remove(refs);
    await this.#db.within(['outbox'], 'readwrite', (table) => {
      for (const ref of refs) table('outbox').delete([user, ref]);
    });
  }

  /** Gives what a client left, in the order in which it was meant. */
  async of(user: UserId, client: ClientId): Promise<readonly Intent[]> {
    // Another client's too: this tab had its id, or that tab has the same entries.
    await this.put(this.#journal.all().filter((intent) => intent.user === user));
    return this.#db.within(['outbox'], 'readonly', async (table) => {
      const all = await done(table('outbox').getAll(beginningWith(user)));
      return all.filter((intent) => intent.client === client).sort(byOrder);
    });
  }

  /** Lists the clients of a user that have something in their outbox. */
  async owners(user: UserId): Promise<readonly ClientId[]> {
    return this.#db.within(['outbox'], 'readonly', async (table) => {
      const all = await done(table('outbox').getAll(beginningWith(user)));
      return [...new Set(all.map((intent) => intent.client))];
    });
  }

  /** Moves everything from a client that is gone to another, numbered from `order` on. */
  async adopt(
    user: UserId,
    from: ClientId,
    to: ClientId,
    order: number,
  ): Promise<readonly Intent[]> {
    return this.#db.within(['outbox'], 'readwrite', async (table) => {
      const all = await done(table('outbox').getAll(beginningWith(user)));
      const left = all.filter((intent) => intent.client === from).sort(byOrder);
      const adopted = left.map((intent, i) => ({ ...intent, client: to, order: order + i }));
      for (const intent of adopted) table('outbox').put(intent);
      return adopted;
    });
  }
}
