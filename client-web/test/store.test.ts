import { forceCloseDatabase, IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Cache, Forgotten } from '../src/core/store/cache.ts';
import { type Claim, type Database, done, openDatabase } from '../src/core/store/idb.ts';
import { Journal } from '../src/core/store/journal.ts';
import { Outbox } from '../src/core/store/outbox.ts';
import {
  CLIENT,
  entry,
  idAt,
  ME,
  own,
  PEER,
  STORE,
  sending,
  storage,
  TALK,
  theirs,
  until,
} from './given.ts';

globalThis.IDBKeyRange = IDBKeyRange;

const OTHER = '00000000-0000-4000-8000-00000000beef';
const SCOPE = { user: ME, store: STORE, generation: 0 };
const EMPTY = { messages: [], edits: [], deletions: [], entries: [], receipts: [] };

let browser: IDBFactory;

beforeEach(() => {
  browser = new IDBFactory();
});

afterEach(() => {
  vi.useRealTimers();
});

function throwFull(): never {
  throw new DOMException('full', 'QuotaExceededError');
}

/** The way into a database that has room for reading only. */
function within(database: Database, allowed: 'readonly'): Database['within'] {
  return (names, mode, work) =>
    mode === allowed ? database.within(names, mode, work) : throwFull();
}

/** Opens the database as a page does that was just loaded. */
const opened = () => openDatabase(browser);

/** Makes the outbox of a tab whose session storage is `kept`. */
const outboxOf = async (kept = storage()) => new Outbox(await opened(), new Journal(kept));

/** Gives the cache of a browser in which some users have begun. */
async function cacheOf(...users: readonly string[]): Promise<Cache> {
  const cache = new Cache(await opened());
  for (const user of users) await cache.begin(user);
  return cache;
}

function claim(more: Partial<Claim> = {}): Claim {
  return {
    user: ME,
    store: STORE,
    client: CLIENT,
    cursor: 'c1',
    inboxFrom: '',
    windows: {},
    savedAt: 1,
    ...more,
  };
}

test('what was meant survives a reload, as it was and in its order', async () => {
  const first = await outboxOf();
  const meant = [sending(1), sending(2, { attempted: true }), sending(10)];
  await first.put([meant[2] as never, meant[0] as never]);
  await first.put([meant[1] as never]);
  expect(await (await outboxOf()).of(ME, CLIENT)).toEqual(meant);
});

test('what was meant survives a reload that comes before the database has it', async () => {
  const kept = storage();
  const late = Object.assign(await opened(), { within: () => new Promise<never>(() => {}) });
  const first = new Outbox(late, new Journal(kept));
  const meant = [sending(1), sending(2, { client: OTHER }), sending(3, { user: PEER })];
  void first.put(meant);
  expect(await (await outboxOf(kept)).of(ME, CLIENT)).toEqual([sending(1)]);
  // Now the database has it, and another tab of the browser finds it there.
  expect(await (await outboxOf()).of(ME, CLIENT)).toEqual([sending(1)]);
  expect(await (await outboxOf()).owners(ME)).toContain(OTHER);
  expect(await (await outboxOf()).owners(PEER)).toEqual([]);
});

test('what the database has does not stay in the session storage', async () => {
  const kept = storage();
  const outbox = await outboxOf(kept);
  await outbox.put([sending(1)]);
  expect(kept.rows.size).toBe(0);
});

test('what was confirmed is gone after a reload, and only that', async () => {
  const outbox = await outboxOf();
  await outbox.put([sending(1), sending(2)]);
  await outbox.remove(ME, [sending(1).ref]);
  expect(await (await outboxOf()).of(ME, CLIENT)).toEqual([sending(2)]);
});

test('tabs see only their own, and what a dead one left is adopted once', async () => {
  const outbox = await outboxOf();
  await outbox.put([sending(1, { client: OTHER }), sending(2, { client: OTHER }), sending(3)]);
  const both = [outbox.adopt(ME, OTHER, CLIENT, 5), outbox.adopt(ME, OTHER, 'third', 5)];
  const [mine, others] = await Promise.all(both);
  expect(mine?.map(({ ref, order }) => [ref, order])).toEqual([
    [sending(1).ref, 5],
    [sending(2).ref, 6],
  ]);
  expect(others).toEqual([]);
  expect(await outbox.owners(ME)).toEqual([CLIENT]);
});

test("another user's outbox in the same browser is not touched", async () => {
  for (const db of [await opened(), undefined]) {
    const outbox = new Outbox(db, new Journal(storage()));
    const his = sending(1, { user: PEER });
    await outbox.put([his, sending(2)]);
    await outbox.adopt(ME, CLIENT, OTHER, 1);
    await outbox.forget(ME);
    expect(await outbox.of(PEER, CLIENT)).toEqual([his]);
    expect(await outbox.owners(ME)).toEqual([]);
  }
});

test('without a database what was meant survives a reload in the session storage', async () => {
  const kept = storage();
  const outboxWithout = () => new Outbox(undefined, new Journal(kept));
  const left = { ...sending(3), client: OTHER };
  await outboxWithout().put([sending(2), sending(1), left]);
  expect(await outboxWithout().of(ME, CLIENT)).toEqual([sending(1), sending(2)]);
  const adopted = await outboxWithout().adopt(ME, OTHER, CLIENT, 7);
  expect(adopted).toEqual([{ ...left, client: CLIENT, order: 7 }]);
  await outboxWithout().remove(ME, [sending(1).ref]);
  expect(await outboxWithout().of(ME, CLIENT)).toEqual([sending(2), ...adopted]);
});

test('without a database a full session storage is told, as nothing keeps what was meant', async () => {
  const full = { ...storage(), setItem: () => throwFull() };
  await expect(new Outbox(undefined, new Journal(full)).put([sending(1)])).rejects.toThrow();
  await (await outboxOf(full)).put([sending(1)]);
});

test('what the database does not take is still there after a reload', async () => {
  const kept = storage();
  const database = await opened();
  await new Outbox(database, new Journal(kept)).put([sending(1)]);
  const full = Object.assign(await opened(), { within: within(database, 'readonly') });
  await expect(new Outbox(full, new Journal(kept)).put([sending(2)])).rejects.toThrow();
  const reloaded = new Outbox(full, new Journal(kept));
  expect(await reloaded.of(ME, CLIENT)).toEqual([sending(1), sending(2)]);
});

test('all that is not confirmed is counted, whichever tab it is of', async () => {
  const outbox = await outboxOf();
  await outbox.put([sending(1), sending(2, { client: OTHER }), sending(3, { user: PEER })]);
  expect(await outbox.all(ME)).toHaveLength(2);
});

test('a database of before keeps what is in it, and gets the tables that it lacks', async () => {
  const old = await new Promise<IDBDatabase>((resolve) => {
    const request = browser.open('rally', 1);
    request.onupgradeneeded = () => {
      for (const name of ['messages', 'inbox', 'claims', 'outbox']) {
        request.result.createObjectStore(name, { keyPath: ['user', 'ref'] });
      }
    };
    request.onsuccess = () => resolve(request.result);
  });
  old.transaction('outbox', 'readwrite').objectStore('outbox').put(sending(1));
  old.onversionchange = () => old.close();
  expect(await (await outboxOf()).of(ME, CLIENT)).toEqual([sending(1)]);
  expect(await new Cache(await opened()).begin(ME)).toBe(0);
});

test('rows and the claim that covers them are stored together or not at all', async () => {
  const cache = await cacheOf(ME, PEER);
  const unstorable = { ...theirs(2), text: (() => {}) as never };
  const batch = { ...EMPTY, messages: [theirs(1), unstorable] };
  await expect(cache.commit(SCOPE, batch, claim())).rejects.toThrow();
  expect(await cache.claimants(ME)).toEqual([]);
  expect((await cache.page(SCOPE, TALK, '', 10)).messages).toEqual([]);
});

test('a row that is written again undoes neither an edit nor a deletion', async () => {
  const cache = await cacheOf(ME, PEER);
  const edit = { conversation: TALK, id: idAt(1), edit: idAt(9), text: 'new' };
  const gone = { conversation: TALK, id: idAt(2) };
  await cache.commit(SCOPE, { ...EMPTY, messages: [theirs(1), theirs(2)] });
  await cache.commit(SCOPE, { ...EMPTY, edits: [edit], deletions: [gone] });
  await cache.commit(SCOPE, { ...EMPTY, messages: [theirs(1), theirs(2)] });
  expect((await cache.page(SCOPE, TALK, '', 10)).messages).toMatchObject([
    { id: idAt(2), deleted: true, text: '' },
    { id: idAt(1), edit: idAt(9), text: 'new' },
  ]);
});

test('who began before everything was deleted stores nothing any more, and no claim above all', async () => {
  const cache = await cacheOf(ME, PEER);
  await cache.commit(SCOPE, { ...EMPTY, messages: [theirs(1)], entries: [entry(1)] }, claim());
  const generation = await cache.forget(ME);
  // The socket of another tab lives on, and it knows all that is gone.
  const late = cache.commit(SCOPE, { ...EMPTY, messages: [theirs(2)] }, claim({ cursor: 'c2' }));
  await expect(late).rejects.toBeInstanceOf(Forgotten);
  expect(await cache.claimOf(ME, OTHER)).toBeUndefined();
  // What is gone would look like a window that begins here.
  await expect(cache.page(SCOPE, TALK, '', 10)).rejects.toBeInstanceOf(Forgotten);
  expect((await cache.page({ ...SCOPE, generation }, TALK, '', 10)).messages).toEqual([]);
  expect((await cache.inbox(claim())).entries).toEqual([]);

  // Who logs in now begins with that, and others are not concerned.
  expect(await cache.begin(ME)).toBe(generation);
  await cache.commit({ ...SCOPE, generation }, { ...EMPTY, messages: [theirs(3)] }, claim());
  expect(await cache.claimOf(ME, CLIENT)).toMatchObject({ cursor: 'c1' });
  await cache.commit({ ...SCOPE, user: PEER }, { ...EMPTY, messages: [theirs(4)] });
});

/** Remembers the connections that a page opens, so that a test can close them as a browser does. */
function watched(): { factory: IDBFactory; connections: IDBDatabase[] } {
  const connections: IDBDatabase[] = [];
  const open: IDBFactory['open'] = (...given) => {
    const request = browser.open(...given);
    request.addEventListener('success', () => connections.push(request.result));
    return request;
  };
  return { factory: Object.assign(Object.create(browser), { open }), connections };
}

test('a database that the browser has closed is opened again, once for all who use it', async () => {
  const { factory, connections } = watched();
  const outbox = new Outbox(await openDatabase(factory), new Journal(storage()));
  await outbox.put([sending(1)]);
  forceCloseDatabase(connections[0] as never);
  await Promise.all([outbox.put([sending(2)]), outbox.put([sending(3)])]);
  expect(connections).toHaveLength(2);
  expect(await (await outboxOf()).of(ME, CLIENT)).toEqual([sending(1), sending(2), sending(3)]);
});

test('a page whose tables a newer one has changed hears that it is outdated', async () => {
  let outdated = 0;
  const database = await openDatabase(browser, () => {
    outdated += 1;
  });
  await done(browser.open('rally', 99));
  const generations = () => new Cache(database).begin(ME);
  await expect(generations()).rejects.toMatchObject({ name: 'VersionError' });
  expect(outdated).toBe(1);
});

test('a database that is opened after nobody waits for it any more is closed', async () => {
  const frozen = await done(browser.open('rally', 1));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const { factory, connections } = watched();
  const refused = expect(openDatabase(factory)).rejects.toThrow('another tab');
  await until(() => vi.getTimerCount() > 0);
  await vi.advanceTimersByTimeAsync(3_000);
  await refused;
  expect(connections).toEqual([]);
  frozen.close();
  await until(() => connections.length > 0);
  expect(() => connections[0]?.transaction('generations')).toThrow();
});

test('a database that was deleted and made again covers nothing of before', async () => {
  const cache = await cacheOf(ME);
  await cache.commit(SCOPE, { ...EMPTY, messages: [theirs(1)] }, claim());
  await done(browser.deleteDatabase('rally'));
  const late = cache.commit(SCOPE, { ...EMPTY, messages: [theirs(2)] }, claim());
  await expect(late).rejects.toBeInstanceOf(Forgotten);
  await expect(cache.page(SCOPE, TALK, '', 10)).rejects.toBeInstanceOf(Forgotten);
});

test('why a transaction was ended is told, and not only that it was', async () => {
  const database = await opened();
  const ended = database.within(['claims'], 'readwrite', async (table) => {
    for (const row of [claim(), claim()]) table('claims').add(row);
    await done(table('claims').getAll());
  });
  await expect(ended).rejects.toMatchObject({ name: 'ConstraintError' });
});

test('a page ends where the window does, and says from where on it has no gap', async () => {
  const cache = await cacheOf(ME, PEER);
  const messages = [1, 2, 3, 4, 5].map((ms) => theirs(ms));
  await cache.commit(SCOPE, { ...EMPTY, messages });
  const newest = await cache.page(SCOPE, TALK, idAt(2), 3);
  expect(newest.messages.map(({ id }) => id)).toEqual([idAt(5), idAt(4), idAt(3)]);
  expect(newest.from).toBe(idAt(3));
  const older = await cache.page(SCOPE, TALK, idAt(2), 3, newest.from);
  expect(older).toMatchObject({ messages: [{ id: idAt(2) }], from: idAt(2) });
});

test('rows of another store are not shown, and are deleted when asked', async () => {
  const cache = await cacheOf(ME, PEER);
  await cache.commit({ ...SCOPE, store: 'older' }, { ...EMPTY, messages: [theirs(1)] });
  await cache.commit(SCOPE, { ...EMPTY, messages: [own(2)] });
  expect((await cache.page(SCOPE, TALK, '', 10)).messages).toEqual([own(2)]);
  await cache.prune(ME, STORE);
  expect((await cache.page(SCOPE, TALK, '', 10)).messages).toHaveLength(1);
  const old = await cache.page({ ...SCOPE, store: 'older' }, TALK, '', 10);
  expect(old.messages).toEqual([]);
});

test('a new tab begins with what the newest of the others may conclude', async () => {
  const cache = await cacheOf(ME, PEER);
  await cache.commit(SCOPE, { ...EMPTY, entries: [entry(1)] }, claim({ client: 'one' }));
  await cache.commit(SCOPE, EMPTY, claim({ client: 'two', cursor: 'c2', savedAt: 2 }));
  expect(await cache.claimOf(ME, CLIENT)).toMatchObject({ client: CLIENT, cursor: 'c2' });
  const { entries } = await cache.inbox(claim());
  expect(entries).toEqual([entry(1)]);
});

test('the cached marks move forward only, and a mark at the head clears the count', async () => {
  const cache = await cacheOf(ME, PEER);
  await cache.commit(SCOPE, { ...EMPTY, entries: [entry(3, { unread: 2 })] });
  const receipts = [
    { conversation: TALK, user: PEER, read_up_to: idAt(2) },
    { conversation: TALK, user: PEER, read_up_to: idAt(1) },
    { conversation: TALK, user: ME, read_up_to: idAt(3) },
  ];
  await cache.commit(SCOPE, { ...EMPTY, receipts });
  const { entries } = await cache.inbox(claim());
  expect(entries).toMatchObject([
    { unread: 0, read_up_to: idAt(3), peer_read_up_to: idAt(2), peer_delivered_up_to: idAt(2) },
  ]);
});
