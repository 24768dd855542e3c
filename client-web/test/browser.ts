/** One browser whose pages are whole clients, and a server that is the test. */

import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { afterEach, beforeEach, vi } from 'vitest';
import { Client, type Parts } from '../src/core/client.ts';
import type { Socket } from '../src/core/connection.ts';
import { Cache } from '../src/core/store/cache.ts';
import { openDatabase } from '../src/core/store/idb.ts';
import { Journal } from '../src/core/store/journal.ts';
import { Outbox } from '../src/core/store/outbox.ts';
import type { Liveness } from '../src/core/tabs.ts';
import { threadOf } from '../src/core/views.ts';
import type { ClientFrame, ServerFrame } from '../src/wire.ts';
import { CLIENT, entry, ME, NOW, STORE, storage, TALK, theirs, until } from './given.ts';

globalThis.IDBKeyRange = IDBKeyRange;

/** No other tab lives here. */
const ALONE: Liveness = { take: async () => true, leave: () => {}, ifDead: (_, work) => work() };

/** A socket whose server is the test. */
export class Line implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly heard: ClientFrame[] = [];

  send(text: string): void {
    this.heard.push(JSON.parse(text));
  }

  close(): void {}

  says(...frames: readonly ServerFrame[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** Gives what was heard of one type. */
  of<T extends ClientFrame['type']>(type: T): Extract<ClientFrame, { type: T }>[] {
    return this.heard.filter((frame) => frame.type === type) as never;
  }
}

/** A page of the browser. */
export interface Loaded {
  readonly page: Client;
  /** Its first connection. */
  readonly line: Line;
  /** All its connections. */
  readonly lines: readonly Line[];
}

/** What its pages share is kept from one page to the next. */
export class Browser {
  readonly factory = new IDBFactory();
  readonly #pages: Client[] = [];

  /** Loads the page: a new client on what the browser has kept. */
  async load(client = CLIENT, more: Partial<Parts> = {}): Promise<Loaded> {
    const lines: Line[] = [];
    const database = await openDatabase(this.factory);
    const page = new Client({
      user: ME,
      client,
      api: {
        discover: async () => ({ address: 'ws://x/ws', node: 'n1', ticket: 't' }),
        know: () => {},
      },
      open: () => {
        const line = new Line();
        lines.push(line);
        return line;
      },
      cache: new Cache(database),
      outbox: new Outbox(database, new Journal(storage())),
      liveness: ALONE,
      notice: (text) => {
        throw new Error(text);
      },
      otherUser: () => {},
      ...more,
    });
    this.#pages.push(page);
    await page.start();
    await until(() => lines.length === 1);
    const line = lines[0] as Line;
    line.onopen?.();
    return { page, line, lines };
  }

  /** Closes all pages. */
  async close(): Promise<void> {
    for (const page of this.#pages) await page.stop();
  }
}

/** Gives each test of a file a browser of its own; after it, the browser ends and time is real. */
export function browserOfEachTest(): () => Browser {
  let browser: Browser;
  beforeEach(() => {
    browser = new Browser();
  });
  afterEach(async () => {
    vi.useRealTimers();
    await browser.close();
  });
  return () => browser;
}

/** Gives the texts that a page shows of the conversation. */
export function texts(page: Client): readonly string[] {
  return threadOf(page.state(), TALK).map(({ text }) => text);
}

/** The server welcomes the page, and reads what it missed. */
export function greet(line: Line): void {
  line.says({
    ...{ type: 'welcome', user: ME, node: 'n1', store: STORE, now: NOW },
    ...{ addresses: [], text_bytes: 65_536, watches: 1 },
  });
}

/** The server welcomes the page and has nothing new. */
export function welcome(line: Line): void {
  greet(line);
  line.says({ type: 'synced', cursor: 'c1' });
}

/** The server knows one conversation, and answers what is asked about it. */
export function answer(line: Line): void {
  for (const { ref } of line.of('inbox')) {
    line.says({ type: 'inbox', ref, entries: [entry(1)], more: false });
  }
  for (const { ref } of line.of('history')) {
    line.says({ type: 'history', ref, conversation: TALK, messages: [theirs(1)], more: false });
  }
}

/** Lets the faked time pass until `holds`, and gives how many milliseconds of it that took. */
export async function passedUntil(holds: () => boolean): Promise<number> {
  const began = performance.now();
  await until(async () => {
    await vi.advanceTimersByTimeAsync(50);
    return holds();
  });
  return performance.now() - began;
}
