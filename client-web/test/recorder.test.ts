import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { beforeEach, expect, test } from 'vitest';
import { Recorder } from '../src/core/recorder.ts';
import { initialState } from '../src/core/state.ts';
import { Cache, type Scope } from '../src/core/store/cache.ts';
import { openDatabase } from '../src/core/store/idb.ts';
import type { ServerFrame } from '../src/wire.ts';
import { CLIENT, entry, ME, NOW, STORE, TALK, theirs } from './given.ts';

globalThis.IDBKeyRange = IDBKeyRange;

const OTHER = '00000000-0000-4000-8000-00000000beef';
const WELCOME: ServerFrame = {
  ...{ type: 'welcome', user: ME, node: 'n1', store: STORE, now: NOW },
  ...{ addresses: [], text_bytes: 65_536, watches: 1 },
};
const SYNCED: ServerFrame = { type: 'synced', cursor: 'c1' };
const PUSH: ServerFrame = { type: 'message', ...theirs(1) };

/** A cache that has no room a few times. */
class Full extends Cache {
  times = 0;

  override async commit(...given: Parameters<Cache['commit']>): Promise<void> {
    this.times -= 1;
    if (this.times >= 0) throw new DOMException('full', 'QuotaExceededError');
    await super.commit(...given);
  }
}

let browser: IDBFactory;

beforeEach(() => {
  browser = new IDBFactory();
});

/** A tab that has begun to record, and what its host was told. */
async function tab(client = CLIENT) {
  const cache = new Full(await openDatabase(browser));
  const told: string[] = [];
  const recorder = new Recorder(cache, ME, client, {
    trouble: () => told.push('trouble'),
    emptied: () => told.push('emptied'),
  });
  const restored = await recorder.restore();
  const hear = (...frames: readonly ServerFrame[]) => {
    for (const frame of frames) {
      const question = frame.type === 'inbox' ? ({ about: 'inbox' } as const) : undefined;
      recorder.hear(frame, question, { ...initialState(ME), inboxFrom: '' });
    }
  };
  return { cache, recorder, told, restored, hear };
}

const INBOX: ServerFrame = { type: 'inbox', ref: 'r', entries: [entry(1)], more: false };
const scope = (generation: number): Scope => ({ user: ME, store: STORE, generation });

test('after a log-out another tab leaves no claim behind that the next log-in would trust', async () => {
  const [one, other] = [await tab(), await tab(OTHER)];
  other.hear(WELCOME, INBOX, SYNCED);
  await other.recorder.flush();
  await one.recorder.forget();
  other.hear({ type: 'synced', cursor: 'c2' });
  await other.recorder.flush();
  expect(other.told).toEqual([]);
  expect((await tab()).restored).toBeUndefined();
  expect((await tab(OTHER)).restored).toBeUndefined();
});

test('what is collected when the tab is told of a log-out is not written', async () => {
  const { recorder, cache, hear } = await tab();
  hear(WELCOME, INBOX, SYNCED, PUSH);
  await recorder.forget();
  await recorder.flush();
  expect(await cache.claimants(ME)).toEqual([]);
  expect((await cache.page(scope(1), theirs(1).conversation, '', 9)).messages).toEqual([]);
});

test('when there is no room what is kept gives way, and is loaded anew', async () => {
  const { recorder, cache, told, hear } = await tab();
  hear(WELCOME, INBOX, SYNCED);
  await recorder.flush();
  cache.times = 1;
  hear(PUSH, { type: 'synced', cursor: 'c2' });
  await recorder.flush();
  expect(told).toEqual(['emptied']);
  // Without a cursor the server answers with a reset.
  expect(recorder.cursor()).toBeUndefined();
  expect(await cache.claimants(ME)).toEqual([]);
  hear(WELCOME, { type: 'reset', cursor: 'c3' }, INBOX, PUSH);
  await recorder.flush();
  expect((await cache.claimOf(ME, CLIENT))?.cursor).toBe('c3');
});

test('where one tab made room the others begin anew as well, and go on storing', async () => {
  const [one, other] = [await tab(), await tab(OTHER)];
  for (const { hear, recorder } of [one, other]) {
    hear(WELCOME, INBOX, SYNCED);
    await recorder.flush();
  }
  one.cache.times = 1;
  one.hear(PUSH);
  await one.recorder.flush();
  // Both were to be written before the other tab knew.
  other.hear(PUSH);
  void other.recorder.flush();
  other.hear({ type: 'synced', cursor: 'c2' });
  await other.recorder.flush();
  expect(other.told).toEqual(['emptied']);
  expect(other.recorder.cursor()).toBeUndefined();
  expect(await other.cache.claimants(ME)).toEqual([]);

  other.hear(WELCOME, { type: 'reset', cursor: 'c3' }, INBOX, PUSH);
  await other.recorder.flush();
  expect((await other.cache.claimOf(ME, OTHER))?.cursor).toBe('c3');
  expect(other.told).toEqual(['emptied']);
});

test('a page that another tab has deleted to make room is not taken for an empty one', async () => {
  const [one, other] = [await tab(), await tab(OTHER)];
  const history: ServerFrame = {
    ...{ type: 'history', conversation: TALK, messages: [theirs(1)], more: false },
  };
  other.hear(WELCOME, INBOX, history, SYNCED);
  await other.recorder.flush();
  expect((await other.recorder.page(TALK))?.messages).toHaveLength(1);
  await one.recorder.makeRoom();
  expect(await other.recorder.page(TALK)).toBeUndefined();
  expect(other.told).toEqual(['emptied']);
});

test('a log-out ends also who began before room was made, and after it', async () => {
  const [one, early, late] = [await tab(), await tab(OTHER), await tab('late')];
  early.hear(WELCOME);
  late.hear(WELCOME);
  await one.recorder.makeRoom();
  late.hear(PUSH);
  await late.recorder.flush();
  expect(late.told).toEqual(['emptied']);
  await one.recorder.forget();
  for (const { hear, recorder } of [early, late]) {
    hear(WELCOME, { type: 'reset', cursor: 'c3' }, INBOX, PUSH);
    await recorder.flush();
  }
  expect([early.told, late.told]).toEqual([[], ['emptied']]);
  expect(await one.cache.claimants(ME)).toEqual([]);
});

test('the end of a log-in deletes also what was kept after room was made, of which its tab knew nothing', async () => {
  const [one, other] = [await tab(), await tab(OTHER)];
  other.hear(WELCOME);
  await other.recorder.makeRoom();
  other.hear({ type: 'reset', cursor: 'c3' }, INBOX, PUSH);
  await other.recorder.flush();
  expect(await one.cache.claimants(ME)).toEqual([OTHER]);
  await one.recorder.forgetLogIn();
  other.hear(PUSH, { type: 'synced', cursor: 'c4' });
  await other.recorder.flush();
  expect(await one.cache.claimants(ME)).toEqual([]);
});

test('when that does not help nothing more is written', async () => {
  const { recorder, cache, told, hear } = await tab();
  cache.times = 2;
  hear(WELCOME, INBOX, SYNCED);
  await recorder.flush();
  hear(PUSH);
  await recorder.flush();
  expect(told).toEqual(['emptied', 'trouble']);
  expect(await recorder.makeRoom()).toBe(false);
});
