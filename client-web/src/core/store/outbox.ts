/**
 * What was meant and not confirmed, kept on disk until it is.
 *
 * Each entry belongs to one client. When that client's tab is gone another one of the same user
 * adopts what it left, each entry once, because moving them is one transaction. Without a database
 * the tab's journal keeps them, for as long as the tab lives.
 */

import type { ClientId, Ref, UserId } from '../../wire.ts';
import { byOrder, type Intent } from '../intent.ts';
import { beginningWith, type Database, done } from './idb.ts';
import type { Journal } from './journal.ts';

/** The outboxes of one browser. */
export class Outbox {
  readonly #db: Database | undefined;
  readonly #journal: Journal;

  /** Keeps its entries in `db`, and in `journal` until they are there, or where there is none. */
  constructor(db: Database | undefined, journal: Journal) {
    this.#db = db;
    this.#journal = journal;
  }

  /**
   * Stores entries, new or changed. They survive a reload from now on, and the end of the tab once
   * the promise resolves, if there is a database.
   */
  async put(intents: readonly Intent[]): Promise<void> {
    if (intents.length === 0) return;
    const noted = this.#journal.add(intents);
    if (this.#db === undefined) {
      if (!noted) throw new Error('neither database nor session storage has room');
      return;
    }
    await this.#db.within(['outbox'], 'readwrite', (table) => {
      for (const intent of intents) table('outbox').put(intent);
    });
    this.#journal.remove(intents.map((intent) => intent.ref));
  }

  /** Removes what was confirmed or given up. */
  async remove(user: UserId, refs: readonly Ref[]): Promise<void> {
    this.#journal.remove(refs);
    await this.#db?.within(['outbox'], 'readwrite', (table) => {
      for (const ref of refs) table('outbox').delete([user, ref]);
    });
  }

  /** Gives what a client left, in the order in which it was meant. */
  async of(user: UserId, client: ClientId): Promise<readonly Intent[]> {
    try {
      // Another client's too: this tab had its id, or that tab has the same entries.
      await this.put(this.#journal.of(user));
    } catch {
      // They stay in the journal.
    }
    const all = await this.all(user);
    return all.filter((intent) => intent.client === client).sort(byOrder);
  }

  /** Lists what all clients of a user left. */
  async all(user: UserId): Promise<readonly Intent[]> {
    const kept = await this.#db?.within(['outbox'], 'readonly', (table) =>
      done(table('outbox').getAll(beginningWith(user))),
    );
    // What is still in the journal is newer.
    const byRef = [...(kept ?? []), ...this.#journal.of(user)].map((intent): [Ref, Intent] => [
      intent.ref,
      intent,
    ]);
    return [...new Map(byRef).values()];
  }

  /** Lists the clients of a user that have something in their outbox. */
  async owners(user: UserId): Promise<readonly ClientId[]> {
    const all = await this.all(user);
    return [...new Set(all.map((intent) => intent.client))];
  }

  /** Moves everything from a client that is gone to another, numbered from `order` on. */
  async adopt(
    user: UserId,
    from: ClientId,
    to: ClientId,
    order: number,
  ): Promise<readonly Intent[]> {
    const moved = (all: readonly Intent[]) =>
      all
        .filter((intent) => intent.client === from)
        .sort(byOrder)
        .map((intent, i) => ({ ...intent, client: to, order: order + i }));
    if (this.#db === undefined) {
      const adopted = moved(this.#journal.of(user));
      await this.put(adopted);
      return adopted;
    }
    return this.#db.within(['outbox'], 'readwrite', async (table) => {
      const adopted = moved(await done(table('outbox').getAll(beginningWith(user))));
      for (const intent of adopted) table('outbox').put(intent);
      return adopted;
    });
  }

  /** Deletes everything of a user. */
  async forget(user: UserId): Promise<void> {
    this.#journal.remove(this.#journal.of(user).map((intent) => intent.ref));
    await this.#db?.within(['outbox'], 'readwrite', (table) => {
      table('outbox').delete(beginningWith(user));
    });
  }
}
