/**
 * What tabs were told, kept on disk: messages, inbox entries, and each client's claim.
 *
 * Rows are facts, shared by all tabs of a user and joined as the thread joins them, so writing
 * one again changes nothing. A claim is one client's own and is stored in the transaction that
 * stores what it covers: after a crash there is either both or neither.
 */

import type {
  ClientId,
  ConversationId,
  Deleted,
  Edited,
  InboxEntry,
  Message,
  MessageId,
  Receipt,
  StoreId,
  UserId,
} from '../../wire.ts';
import { later, NONE } from '../ids.ts';
import { joined } from '../thread.ts';
import {
  beginningWith,
  type Claim,
  type Database,
  done,
  type EntryRow,
  type Generation,
  type TableOf,
} from './idb.ts';

/** What is to be written together. */
export interface Batch {
  readonly messages: readonly Message[];
  readonly edits: readonly Edited[];
  readonly deletions: readonly Deleted[];
  readonly entries: readonly InboxEntry[];
  readonly receipts: readonly Receipt[];
}

/** Whose rows, of which store, written since which {@link Cache.begin}. */
export interface Scope {
  readonly user: UserId;
  readonly store: StoreId;
  readonly generation: number;
}

/** Says that everything of the user was deleted since the writer began. */
export class Forgotten extends Error {
  override readonly name = 'Forgotten';
  /** The generation in which he may go on; none after a log-out. */
  readonly next: number | undefined;

  /** Says how the writer may go on. */
  constructor(next: number | undefined) {
    super('what was kept here is deleted');
    this.next = next;
  }
}

/** A page of the cache, and from where on it has no gap. */
export interface CachedPage {
  readonly messages: readonly Message[];
  readonly from: MessageId | '';
}

async function putMessage(table: TableOf, scope: Scope, message: Message): Promise<void> {
  const rows = table('messages');
  const { after: _, ...bare } = message;
  const { id, conversation } = message;
  const { user, store } = scope;
  const held = await done(rows.get([user, store, conversation, id]));
  const next = held === undefined ? bare : joined(held.message, bare);
  if (next !== held?.message) rows.put({ user, store, conversation, id, message: next });
}

async function changeMessage(
  table: TableOf,
  scope: Scope,
  target: { readonly conversation: ConversationId; readonly id: MessageId },
  change: Pick<Message, 'edit' | 'deleted' | 'text'>,
): Promise<void> {
  const key = [scope.user, scope.store, target.conversation, target.id];
  const held = await done(table('messages').get(key));
  if (held !== undefined) await putMessage(table, scope, { ...held.message, ...change });
}

async function moveMarks(table: TableOf, scope: Scope, receipt: Receipt): Promise<void> {
  const rows = table('inbox');
  const row = await done(rows.get([scope.user, scope.store, receipt.conversation]));
  if (row === undefined) return;
  const read = receipt.read_up_to ?? NONE;
  const entry = { ...row.entry };
  const forward = (held: string | undefined, mark: string) =>
    later(held ?? NONE, mark) || undefined;
  if (receipt.user === entry.peer) {
    entry.peer_read_up_to = forward(entry.peer_read_up_to, read);
    entry.peer_delivered_up_to = forward(
      entry.peer_delivered_up_to,
      later(receipt.delivered_up_to ?? NONE, read),
    );
  }
  // Below the head the server's count would no longer fit the mark: the next catch-up tells.
  if (receipt.user === scope.user && read >= entry.head.id) {
    entry.read_up_to = forward(entry.read_up_to, read);
    entry.unread = 0;
  }
  rows.put({ ...row, entry });
}

async function putEntry(table: TableOf, scope: Scope, entry: InboxEntry): Promise<void> {
  const rows = table('inbox');
  const { conversation } = entry;
  const { user, store } = scope;
  const held: EntryRow | undefined = await done(rows.get([user, store, conversation]));
  // What another tab was told later stays.
  if (held !== undefined && held.entry.head.id > entry.head.id) return;
  rows.put({ user, store, conversation, entry });
}

/** Tells whether who began in `generation` did so after his user's last log-out. */
function isSinceLogOut(known: Generation, generation: number): boolean {
  return generation >= (known.since ?? known.generation);
}

/** Sees to it that nothing of a scope was deleted, be it with the whole database. */
async function hold(table: TableOf, { user, generation }: Scope): Promise<void> {
  const known = await done(table('generations').get(user));
  if (known?.generation === generation) return;
  const goesOn = known !== undefined && isSinceLogOut(known, generation);
  throw new Forgotten(goesOn ? known.generation : undefined);
}

/** Why a generation ends: the log-in is over, or what is kept gives way to something else. */
type End = 'log-out' | 'room';

function successor(user: UserId, known: Generation | undefined, end: End): Required<Generation> {
  const before = known?.generation ?? 0;
  const generation = before + 1;
  return { user, generation, since: end === 'log-out' ? generation : (known?.since ?? before) };
}

/** What is deleted when a user's log-in is over. */
const TOLD = ['messages', 'inbox', 'claims'] as const;

/** Deletes everything of a user, and begins his next generation. */
function forgetIn(table: TableOf, next: Generation): number {
  for (const name of TOLD) table(name).delete(beginningWith(next.user));
  table('generations').put(next);
  return next.generation;
}

/** The cache of one browser. */
export class Cache {
  readonly #db: Database;

  /** Keeps its rows in `db`. */
  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Tells how often everything of a user was deleted, and notes him down: who is not known here
   * stores nothing, so that nobody is passed over when all others are forgotten.
   */
  async begin(user: UserId): Promise<number> {
    return this.#db.within(['generations'], 'readwrite', async (table) => {
      const known = await done(table('generations').get(user));
      if (known === undefined) table('generations').put({ user, generation: 0, since: 0 });
      return known?.generation ?? 0;
    });
  }

  /**
   * Stores a batch, with the claim that it makes true, in one transaction. Throws {@link Forgotten}
   * and stores nothing when the scope's generation is over: the rows under the claim are gone.
   */
  async commit(scope: Scope, batch: Batch, claim?: Claim): Promise<void> {
    await this.#db.within([...TOLD, 'generations'], 'readwrite', async (table) => {
      await hold(table, scope);
      for (const message of batch.messages) await putMessage(table, scope, message);
      for (const { edit, text, ...target } of batch.edits) {
        await changeMessage(table, scope, target, { edit, text });
      }
      for (const deletion of batch.deletions) {
        await changeMessage(table, scope, deletion, { text: '', deleted: true });
      }
      for (const entry of batch.entries) await putEntry(table, scope, entry);
      for (const receipt of batch.receipts) await moveMarks(table, scope, receipt);
      if (claim !== undefined) table('claims').put(claim);
    });
  }

  /**
   * Gives the claim of `client`; a client without one takes over a copy of the newest of its
   * user's: what another tab may conclude from the rows, this one may as well.
   */
  async claimOf(user: UserId, client: ClientId): Promise<Claim | undefined> {
    return this.#db.within(['claims'], 'readwrite', async (table) => {
      const claims = await done(table('claims').getAll(beginningWith(user)));
      const own = claims.find((claim) => claim.client === client);
      if (own !== undefined) return own;
      const newest = claims.reduce<Claim | undefined>(
        (best, claim) => (best === undefined || claim.savedAt > best.savedAt ? claim : best),
        undefined,
      );
      if (newest === undefined) return undefined;
      const copy = { ...newest, client };
      table('claims').put(copy);
      return copy;
    });
  }

  /** Drops what `client` may conclude, as a reset asks; the rows stay. */
  async dropClaim(user: UserId, client: ClientId): Promise<void> {
    await this.#db.within(['claims'], 'readwrite', (table) => {
      table('claims').delete([user, client]);
    });
  }

  /** Lists the clients that have a claim. */
  async claimants(user: UserId): Promise<readonly ClientId[]> {
    return this.#db.within(['claims'], 'readonly', async (table) => {
      const claims = await done(table('claims').getAll(beginningWith(user)));
      return claims.map((claim) => claim.client);
    });
  }

  /** Reads the inbox that a claim covers, and what is above each of its heads. */
  async inbox(claim: Claim): Promise<{ entries: InboxEntry[]; newer: Message[] }> {
    const { user, store } = claim;
    return this.#db.within(['inbox', 'messages'], 'readonly', async (table) => {
      const rows = await done(table('inbox').getAll(beginningWith(user, store)));
      const entries = rows
        .map((row) => row.entry)
        .filter((entry) => entry.head.id >= claim.inboxFrom);
      const newer = await Promise.all(
        entries.map(({ conversation, head }) => {
          const key = [user, store, conversation];
          const range = IDBKeyRange.bound([...key, head.id], [...key, []]);
          return done(table('messages').getAll(range));
        }),
      );
      return { entries, newer: newer.flat().map((row) => row.message) };
    });
  }

  /**
   * Reads the newest `limit` messages of a window that begins at `from`, below `before` if that
   * is given. Throws {@link Forgotten} when the scope's generation is over: it would be a gap.
   */
  async page(
    scope: Scope,
    conversation: ConversationId,
    from: MessageId | '',
    limit: number,
    before?: MessageId,
  ): Promise<CachedPage> {
    const key = [scope.user, scope.store, conversation];
    const range = IDBKeyRange.bound([...key, from], [...key, before ?? []], false, true);
    return this.#db.within(['messages', 'generations'], 'readonly', async (table) => {
      await hold(table, scope);
      const messages: Message[] = [];
      const request = table('messages').openCursor(range, 'prev');
      for (let at = await done(request); at !== null; at = await done(request)) {
        if (messages.length === limit) return { messages, from: messages.at(-1)?.id ?? from };
        messages.push((at.value as { message: Message }).message);
        at.continue();
      }
      return { messages, from };
    });
  }

  /** Deletes what is of other stores than `keep`. */
  async prune(user: UserId, keep: StoreId): Promise<void> {
    await this.#db.within(['messages', 'inbox'], 'readwrite', (table) => {
      for (const name of ['messages', 'inbox'] as const) {
        table(name).delete(IDBKeyRange.bound([user], [user, keep]));
        table(name).delete(IDBKeyRange.bound([user, keep, []], [user, []]));
      }
    });
  }

  /**
   * Deletes everything of a user, for every tab, and gives the generation that begins with it: after
   * a log-out for those who begin anew, else for all.
   */
  async forget(user: UserId, end: End = 'log-out'): Promise<number> {
    return this.#db.within([...TOLD, 'generations'], 'readwrite', async (table) => {
      const known = await done(table('generations').get(user));
      return forgetIn(table, successor(user, known, end));
    });
  }

  /**
   * Deletes everything of a user, whose log-in is over by which somebody began in `generation`: nothing
   * when he has logged out since, as what is kept then is of a later log-in.
   */
  async forgetLogIn(user: UserId, generation: number): Promise<void> {
    await this.#db.within([...TOLD, 'generations'], 'readwrite', async (table) => {
      const known = await done(table('generations').get(user));
      if (known !== undefined && !isSinceLogOut(known, generation)) return;
      forgetIn(table, successor(user, known, 'log-out'));
    });
  }

  /** Deletes everything of everybody but `keep`, for every tab; without one, of everybody. */
  async forgetOthers(keep: UserId | undefined): Promise<void> {
    await this.#db.within([...TOLD, 'generations'], 'readwrite', async (table) => {
      for (const name of TOLD) {
        if (keep === undefined) table(name).clear();
        else {
          table(name).delete(IDBKeyRange.upperBound([keep]));
          table(name).delete(IDBKeyRange.lowerBound([keep, []]));
        }
      }
      for (const known of await done(table('generations').getAll())) {
        const { user } = known;
        if (user !== keep) table('generations').put(successor(user, known, 'log-out'));
      }
    });
  }
}
