/**
 * The browser's database: its tables and keys, and promises for its requests.
 *
 * Every key is an array of its parts, so that no two of them can run together. Tabs share it;
 * a row is a fact that any of them may write again. Knows nothing of what a row means.
 */

import type {
  ClientId,
  ConversationId,
  InboxEntry,
  Message,
  MessageId,
  StoreId,
  UserId,
} from '../../wire.ts';
import type { Intent } from '../intent.ts';
import { atATime } from '../once.ts';

/** A message that some tab was told. */
export interface MessageRow {
  readonly user: UserId;
  readonly store: StoreId;
  readonly conversation: ConversationId;
  readonly id: MessageId;
  readonly message: Message;
}

/** An inbox entry that some tab was told. */
export interface EntryRow {
  readonly user: UserId;
  readonly store: StoreId;
  readonly conversation: ConversationId;
  readonly entry: InboxEntry;
}

/**
 * What one client may conclude from the rows: with all that happened before `cursor` in them,
 * the inbox has no gap down to `inboxFrom`, and each window none from its start.
 */
export interface Claim {
  readonly user: UserId;
  readonly client: ClientId;
  readonly store: StoreId;
  readonly cursor: string;
  readonly inboxFrom: MessageId | '';
  readonly windows: Readonly<Record<ConversationId, MessageId | ''>>;
  /** By this machine's clock; says which claim is the newest. */
  readonly savedAt: number;
}

/** How often everything of a user was deleted here: who began before that knows rows that are gone. */
export interface Generation {
  readonly user: UserId;
  readonly generation: number;
  /**
   * Which generation was the first after his last log-out: who began before may write no more. The
   * present one, where an older page wrote this.
   */
  readonly since?: number;
}

interface Tables {
  messages: MessageRow;
  inbox: EntryRow;
  claims: Claim;
  outbox: Intent;
  generations: Generation;
}

const NAME = 'rally';
const VERSION = 2;

/** How long a tab with an older page may take to let go of the database. */
const BLOCKED_MS = 3_000;

/** Makes the tables that came after version `from`. */
function upgrade(db: IDBDatabase, from: number): void {
  if (from < 1) {
    db.createObjectStore('messages', { keyPath: ['user', 'store', 'conversation', 'id'] });
    db.createObjectStore('inbox', { keyPath: ['user', 'store', 'conversation'] });
    db.createObjectStore('claims', { keyPath: ['user', 'client'] });
    db.createObjectStore('outbox', { keyPath: ['user', 'ref'] });
  }
  if (from < 2) db.createObjectStore('generations', { keyPath: 'user' });
}

/** Waits for a request. */
export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Gives way when a newer page wants to change the tables. */
function giving(db: IDBDatabase): IDBDatabase {
  db.onversionchange = () => db.close();
  return db;
}

function connect(factory: IDBFactory): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = factory.open(NAME, VERSION);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isGivenUp = false;
    request.onupgradeneeded = ({ oldVersion }) => upgrade(request.result, oldVersion);
    request.onsuccess = () => {
      clearTimeout(timer);
      // Nobody has it any more: left open it would only stand in the way of newer pages.
      if (isGivenUp) request.result.close();
      else resolve(giving(request.result));
    };
    request.onerror = () => reject(request.error);
    // It is opened once the other one closes; a frozen tab never does.
    request.onblocked = () => {
      timer = setTimeout(() => {
        isGivenUp = true;
        reject(new Error('another tab holds an older database open'));
      }, BLOCKED_MS);
    };
  });
}

/**
 * Opens the database, making it or its newer tables when they are not there; `outdated` hears when
 * it cannot be opened again, because a newer page has changed the tables.
 */
export async function openDatabase(
  factory: IDBFactory,
  outdated: () => void = () => {},
): Promise<Database> {
  return new Database(await connect(factory), () => connect(factory), outdated);
}

function isCalled(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name;
}

/** Tells whether something was not stored because there is no room for it. */
export function isFull(error: unknown): boolean {
  return isCalled(error, 'QuotaExceededError');
}

/** One table within a transaction. */
export type Table<T> = Omit<IDBObjectStore, 'get' | 'getAll' | 'put'> & {
  get(key: IDBValidKey): IDBRequest<T | undefined>;
  getAll(query?: IDBKeyRange, count?: number): IDBRequest<T[]>;
  put(row: T): IDBRequest<IDBValidKey>;
};

/** Gives the tables of a running transaction. */
export type TableOf = <N extends keyof Tables>(name: N) => Table<Tables[N]>;

/**
 * Ends a transaction without waiting for the answers to its requests: a page that goes away the
 * next moment has then stored it all the same.
 */
function commit(transaction: IDBTransaction): void {
  try {
    transaction.commit();
  } catch {
    // It has ended by itself: nothing was left to ask.
  }
}

/** The database, opened again when the browser or a newer page had it closed. */
export class Database {
  #db: IDBDatabase;
  readonly #reopen: () => Promise<void>;

  /** Wraps what {@link openDatabase} opened by `connect`. */
  constructor(db: IDBDatabase, connect: () => Promise<IDBDatabase>, outdated: () => void) {
    this.#db = db;
    this.#reopen = atATime(async () => {
      try {
        this.#db = await connect();
      } catch (error) {
        if (isCalled(error, 'VersionError')) outdated();
        throw error;
      }
    });
  }

  async #begin(names: readonly (keyof Tables)[], mode: 'readonly' | 'readwrite') {
    try {
      return this.#db.transaction([...names], mode);
    } catch (error) {
      if (!isCalled(error, 'InvalidStateError')) throw error;
      await this.#reopen();
      return this.#db.transaction([...names], mode);
    }
  }

  /**
   * Runs `work` in one transaction: all of it is stored when the promise resolves, or nothing.
   * `work` may wait for requests of the transaction, and for nothing else.
   */
  async within<T>(
    names: readonly (keyof Tables)[],
    mode: 'readonly' | 'readwrite',
    work: (table: TableOf) => Promise<T> | T,
  ): Promise<T> {
    const transaction = await this.#begin(names, mode);
    const finished = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error('transaction aborted'));
    });
    // Both promises fail together; only one of them is looked at then.
    finished.catch(() => {});
    try {
      const table = ((name: keyof Tables) => transaction.objectStore(name)) as unknown as TableOf;
      const result = await work(table);
      commit(transaction);
      await finished;
      return result;
    } catch (error) {
      // A request of a transaction that the browser ended says only that it was.
      const cause = transaction.error ?? error;
      try {
        transaction.abort();
      } catch {
        // It is over already.
      }
      throw cause;
    }
  }

  /** Closes the database, until it is used again. */
  close(): void {
    this.#db.close();
  }
}

/** Makes the range of all keys that begin with `parts`. */
export function beginningWith(...parts: readonly string[]): IDBKeyRange {
  // An array sorts after every string, so this is above every longer key.
  return IDBKeyRange.bound([...parts], [...parts, []]);
}
