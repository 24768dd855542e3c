/** What is asked for again until it is told: names, blocks; and what runs one at a time. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Problem } from '../src/core/api.ts';
import { againAfterMs, persist, timerMs } from '../src/core/backoff.ts';
import { atATime } from '../src/core/once.ts';
import { People } from '../src/pages/people.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** People whom a server names unless it fails; `asked` tells for whom it was asked. */
function given() {
  const failures = new Map<string, unknown>();
  const asked: string[] = [];
  const people = new People({
    person: async (user) => {
      asked.push(user);
      if (failures.has(user)) throw failures.get(user);
      return { user, name: user.toUpperCase(), conversation: '' };
    },
  });
  return { people, asked, failures, names: () => Object.fromEntries(people.known()) };
}

test('a name that could not be told is asked for again, after the wait that the server names', async () => {
  const { people, asked, failures, names } = given();
  for (const user of ['ana', 'ben']) failures.set(user, new Problem(429, 'slowly', 5000));
  people.ask('ana');
  people.ask('ben');
  await vi.advanceTimersByTimeAsync(4999);
  expect(asked).toEqual(['ana']);
  failures.clear();
  await vi.advanceTimersByTimeAsync(1000);
  expect(asked).toEqual(['ana', 'ben', 'ana']);
  expect(names()).toEqual({ ana: 'ANA', ben: 'BEN' });
});

test('who does not exist is asked for once, and keeps nobody waiting', async () => {
  const { people, asked, failures, names } = given();
  failures.set('nobody', new Problem(404, 'unknown user'));
  for (const user of ['nobody', 'ben', 'nobody']) people.ask(user);
  await vi.advanceTimersByTimeAsync(600_000);
  people.ask('nobody');
  await vi.advanceTimersByTimeAsync(600_000);
  expect(asked).toEqual(['nobody', 'ben']);
  expect(names()).toEqual({ ben: 'BEN' });
});

test('somebody whom the server cannot tell of keeps nobody waiting for long', async () => {
  const { people, failures, names } = given();
  failures.set('ana', new Problem(500, 'broken'));
  for (const user of ['ana', 'ben', 'carl']) people.ask(user);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(names()).toEqual({ ben: 'BEN', carl: 'CARL' });
});

test('work is done until it succeeds, its first failure is told, and then it rests', async () => {
  const told: unknown[] = [];
  let left = 3;
  persist(
    async () => {
      left -= 1;
      if (left >= 0) throw new Problem(0, 'not reached');
    },
    (error) => told.push(error),
  );
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toHaveLength(1);
  expect(left).toBe(-1);
});

test('work that is stopped is not begun again', async () => {
  let begun = 0;
  const stop = persist(
    async () => {
      begun += 1;
      throw new Problem(0, 'not reached');
    },
    () => {},
  );
  await vi.advanceTimersByTimeAsync(0);
  stop();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(begun).toBe(1);
});

test('it is of no use to ask again for what is not there, or without a log-in', () => {
  for (const status of [404, 401]) expect(againAfterMs(new Problem(status, ''), 0)).toBeUndefined();
  for (const status of [0, 429, 500, 503]) {
    expect(againAfterMs(new Problem(status, '', 2000), 0)).toBeGreaterThanOrEqual(2000);
  }
});

test('a wait that is too long for a timer is not over at once', async () => {
  let over = false;
  setTimeout(() => {
    over = true;
  }, timerMs(1e12));
  await vi.advanceTimersByTimeAsync(86_400_000);
  expect(over).toBe(false);
  expect(timerMs(5)).toBe(5);
});

test('what is begun twice runs once, and can be begun again when it is over', async () => {
  let begun = 0;
  const start = atATime(async () => {
    begun += 1;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return begun;
  });
  const both = Promise.all([start(), start()]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(await both).toEqual([1, 1]);
  void start();
  expect(begun).toBe(2);
});
