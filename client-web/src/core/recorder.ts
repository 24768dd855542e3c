/**
 * Keeps on disk what the server tells, and what this client may conclude from it.
 *
 * Collects rows and writes them in bursts. The cursor of `synced` is written in the transaction
 * that writes what came before it; that of `reset` when what is loaded after it is there. What
 * could not be written is the writer's business. Knows nothing of the pages.
 */

import type {
  ClientId,
  ConversationId,
  Message,
  MessageId,
  ServerFrame,
  StoreId,
  UserId,
} from '../wire.ts';
import { exhausted } from './codec.ts';
import { startOf } from './conversation.ts';
import type { Question, State } from './state.ts';
import type { Batch, Cache, CachedPage, Scope } from './store/cache.ts';
import type { Claim } from './store/idb.ts';
import type { Liveness } from './tabs.ts';
import { Writer, type WriterHost } from './writer.ts';

/** How long rows are collected before they are written. */
const BURST_MS = 200;

/** Messages in one page from the cache. */
const PAGE = 60;

type Growing = { -readonly [K in keyof Batch]: Batch[K][number][] };

function emptyBatch(): Growing {
  return { messages: [], edits: [], deletions: [], entries: [], receipts: [] };
}

/** Writes the cache of one client. */
export class Recorder {
  readonly #writer: Writer;
  readonly #user: UserId;
  readonly #client: ClientId;

  #batch = emptyBatch();
  #timer: ReturnType<typeof setTimeout> | undefined;

  #store: StoreId | undefined;
  #cursor: string | undefined;
  /** The cursor of a reset, while what it covers is being loaded. */
  #coming: string | undefined;
  #inboxFrom: MessageId | '' | undefined;
  #windows: Record<ConversationId, MessageId | ''> = {};
  #claimChanged = false;
  /** Windows that the catch-up under way has sent anew. */
  readonly #refilled = new Set<ConversationId>();

  /** Writes to `cache`, or nowhere without one. */
  constructor(cache: Cache | undefined, user: UserId, client: ClientId, host: WriterHost) {
    this.#user = user;
    this.#client = client;
    this.#writer = new Writer(cache, user, client, {
      trouble: (error) => host.trouble(error),
      emptied: () => {
        this.#forgetClaim();
        this.#batch = emptyBatch();
        host.emptied();
      },
    });
  }

  /** Reads what was left by this client or, for a new one, by another tab. */
  async restore(): Promise<
    { entries: Awaited<ReturnType<Cache['inbox']>>; from: MessageId | '' } | undefined
  > {
    await this.#writer.begin();
    return this.#writer.read(async (cache) => {
      const claim = await cache.claimOf(this.#user, this.#client);
      if (claim === undefined) return undefined;
      const entries = await cache.inbox(claim);
      this.#store = claim.store;
      this.#cursor = claim.cursor;
      this.#inboxFrom = claim.inboxFrom;
      this.#windows = { ...claim.windows };
      return { entries, from: claim.inboxFrom };
    });
  }

  /** Gives the cursor for `hello`. */
  cursor(): string | undefined {
    return this.#cursor;
  }

  /** Takes in a frame; `question` is what it answers, `state` what it made of the state. */
  hear(frame: ServerFrame, question: Question | undefined, state: State): void {
    switch (frame.type) {
      case 'welcome':
        // Rows of another store say nothing about this one; the server will answer `reset`.
        if (this.#store !== frame.store) this.#forgetClaim();
        this.#store = frame.store;
        return;
      case 'message': {
        const { type: _, ...message } = frame;
        this.message(message);
        return;
      }
      case 'edited': {
        const { type: _, ...edit } = frame;
        this.#batch.edits.push(edit);
        break;
      }
      case 'deleted': {
        const { type: _, ...deletion } = frame;
        this.#batch.deletions.push(deletion);
        break;
      }
      case 'receipt': {
        const { type: _, ...receipt } = frame;
        this.#batch.receipts.push(receipt);
        break;
      }
      case 'inbox':
        this.#batch.entries.push(...frame.entries);
        this.#setInbox(state.inboxFrom);
        break;
      case 'history':
        this.#batch.messages.push(...frame.messages);
        this.#setWindow(frame, question, state);
        break;
      case 'synced':
        this.#synced(frame.cursor, frame.cut ?? []);
        return;
      case 'reset':
        this.#forgetClaim();
        this.#coming = frame.cursor;
        return;
      case 'ack':
      case 'presence':
      case 'typing':
      case 'beat':
      case 'error':
      case 'bye':
        return;
      default:
        exhausted(frame);
        return;
    }
    this.#settleReset(state);
    this.#later();
  }

  /** Takes in a message that came otherwise, as by an `ack`. */
  message(message: Message): void {
    this.#batch.messages.push(message);
    this.#later();
  }

  #forgetClaim(): void {
    this.#cursor = undefined;
    this.#coming = undefined;
    this.#inboxFrom = undefined;
    this.#windows = {};
    this.#refilled.clear();
    this.#claimChanged = false;
    this.#writer.write((cache) => cache.dropClaim(this.#user, this.#client));
  }

  #setInbox(from: MessageId | '' | undefined): void {
    if (from === this.#inboxFrom) return;
    this.#inboxFrom = from;
    this.#claimChanged = true;
  }

  #setWindow(
    frame: Extract<ServerFrame, { type: 'history' }>,
    question: Question | undefined,
    state: State,
  ): void {
    const { conversation } = frame;
    if (frame.ref === undefined) {
      this.#refilled.add(conversation);
      this.#windows[conversation] = startOf(frame);
    } else if (question?.about !== 'history') {
      return;
    } else if (question.before === undefined) {
      this.#windows[conversation] = state.conversations[conversation]?.from ?? startOf(frame);
    } else if (this.#windows[conversation] === question.before) {
      this.#windows[conversation] = startOf(frame);
    }
    this.#claimChanged = true;
  }

  #synced(cursor: string, cut: readonly ConversationId[]): void {
    for (const conversation of cut) {
      if (!this.#refilled.has(conversation)) delete this.#windows[conversation];
    }
    this.#refilled.clear();
    this.#cursor = cursor;
    this.#claimChanged = true;
    this.flush();
  }

  /** Makes a reset's cursor the client's own once inbox and open conversation are loaded. */
  #settleReset(state: State): void {
    if (this.#coming === undefined || this.#inboxFrom === undefined) return;
    const { open } = state;
    const waits = open !== undefined && state.conversations[open]?.from === undefined;
    if (waits && Object.values(state.questions).some(({ about }) => about === 'history')) return;
    this.#cursor = this.#coming;
    this.#coming = undefined;
    this.#claimChanged = true;
    const store = this.#store;
    if (store !== undefined) this.#writer.write((cache) => cache.prune(this.#user, store));
  }

  #claim(): Claim | undefined {
    if (!this.#claimChanged || this.#store === undefined) return undefined;
    if (this.#cursor === undefined || this.#inboxFrom === undefined) return undefined;
    this.#claimChanged = false;
    return {
      user: this.#user,
      client: this.#client,
      store: this.#store,
      cursor: this.#cursor,
      inboxFrom: this.#inboxFrom,
      windows: { ...this.#windows },
      savedAt: Date.now(),
    };
  }

  #later(): void {
    if (this.#writer.isStopped) {
      this.#batch = emptyBatch();
      return;
    }
    this.#timer ??= setTimeout(() => this.flush(), BURST_MS);
  }

  /** Writes what was collected; resolves when it is stored. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { ...batch } = this.#batch;
    const claim = this.#claim();
    const scope = this.#scope();
    const rows = Object.values(batch).some((list) => list.length > 0);
    if (scope === undefined || (!rows && claim === undefined)) return this.#writer.done;
    this.#batch = emptyBatch();
    this.#writer.write((cache) => cache.commit(scope, batch, claim));
    return this.#writer.done;
  }

  #scope(): Scope | undefined {
    if (this.#store === undefined) return undefined;
    return { user: this.#user, store: this.#store, generation: this.#writer.generation };
  }

  /** Deletes what is kept to make room for something else; false when there is nothing to gain. */
  makeRoom(): Promise<boolean> {
    return this.#writer.makeRoom();
  }

  /** Writes nothing more. */
  abandon(): void {
    clearTimeout(this.#timer);
    this.#writer.abandon();
  }

  /** Deletes everything that the user's tabs were told, and writes nothing more. */
  async forget(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#writer.forget();
  }

  /** Deletes what the user's tabs were told by this client's log-in, and writes nothing more. */
  async forgetLogIn(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#writer.forgetLogIn();
  }

  /** Drops what clients may conclude whose tabs are gone. */
  dropDead(liveness: Liveness): Promise<void> {
    return this.#writer.dropDead(liveness);
  }

  /** Reads a page that this client's window covers, or nothing when the server has to be asked. */
  async page(conversation: ConversationId, before?: MessageId): Promise<CachedPage | undefined> {
    const from = this.#windows[conversation];
    if (from === undefined) return undefined;
    if (before !== undefined && before <= from) return undefined;
    await this.flush();
    const scope = this.#scope();
    if (scope === undefined) return undefined;
    const page = await this.#writer.read((cache) =>
      cache.page(scope, conversation, from, PAGE, before),
    );
    // The window may have been replaced while this was read.
    return this.#windows[conversation] === from ? page : undefined;
  }
}
