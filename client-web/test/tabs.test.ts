import { afterEach, expect, test } from 'vitest';
import { Calls, Locks, takeClient } from '../src/core/tabs.ts';
import { until } from './given.ts';

const channels: BroadcastChannel[] = [];

afterEach(() => {
  for (const channel of channels.splice(0)) channel.close();
});

/** A living tab's way to prove it. */
function tab(): Calls {
  const channel = new BroadcastChannel('test-tabs');
  channels.push(channel);
  return new Calls(channel);
}

/** A browser's locks: who asks for one that is held goes away. */
function lockManager(): LockManager {
  const held = new Set<string>();
  const request = async (
    name: string,
    _: LockOptions,
    work: (lock: object | null) => Promise<void>,
  ) => {
    if (held.has(name)) return work(null);
    held.add(name);
    await work({ name });
    held.delete(name);
  };
  return { request } as unknown as LockManager;
}

/** A tab's session storage, or a copy of another tab's. */
function storage(copied?: Map<string, string>) {
  const rows = new Map(copied);
  return {
    rows,
    getItem: (key: string) => rows.get(key) ?? null,
    setItem: (key: string, value: string) => void rows.set(key, value),
  };
}

test('a reload keeps the client id of its tab', async () => {
  const kept = storage();
  const before = await takeClient(tab(), kept);
  for (const channel of channels.splice(0)) channel.close();
  expect(await takeClient(tab(), kept)).toBe(before);
});

test('a duplicated tab takes a new id and keeps that, and the first one keeps its own', async () => {
  const first = storage();
  const original = await takeClient(tab(), first);
  const copy = storage(first.rows);
  const taken = await takeClient(tab(), copy);
  expect(taken).not.toBe(original);
  expect(copy.getItem('rally.client')).toBe(taken);
  expect(first.getItem('rally.client')).toBe(original);
});

test('what a dead tab left is worked on, what a living one has is not', async () => {
  const [one, other] = [tab(), tab()];
  await one.take('living');
  const worked: string[] = [];
  for (const client of ['living', 'dead']) {
    await other.ifDead(client, async () => void worked.push(client));
  }
  expect(worked).toEqual(['dead']);
});

test('what a living tab lets go may be taken over, by locks as by calls', async () => {
  const locks = lockManager();
  for (const [one, other] of [
    [new Locks(locks), new Locks(locks)],
    [tab(), tab()],
  ] as const) {
    const worked: string[] = [];
    const adopt = (what: string) => other.ifDead('one', async () => void worked.push(what));
    expect(await one.take('one')).toBe(true);
    await adopt('while it is held');
    one.leave('one');
    // The browser takes a moment to give a lock free.
    await until(async () => {
      await adopt('later');
      return worked.length > 0;
    });
    expect(worked).toEqual(['later']);
    expect(await one.take('one')).toBe(true);
  }
});
