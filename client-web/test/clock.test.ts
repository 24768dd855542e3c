import { expect, test, vi } from 'vitest';
import { backoffMs } from '../src/core/backoff.ts';
import { ServerClock } from '../src/core/clock.ts';
import { compareStamps, smallestId, stampOf } from '../src/core/ids.ts';
import { MAX_N } from '../src/wire.ts';
import { NOW } from './given.ts';

const NOTHING = { at: 0, n: 0 };

test('stamps follow the time of the server, however wrong the local clock is', () => {
  const clock = new ServerClock(() => 5);
  clock.hear(NOW);
  expect(clock.stamp(NOTHING)).toEqual({ at: NOW, n: 0 });
});

test('half of the way there and back is added to what the server told', () => {
  let local = 1000;
  const clock = new ServerClock(() => local);
  const asked = local;
  local += 80;
  clock.hear(NOW, asked);
  expect(clock.now()).toBe(NOW + 40);
});

test('a local clock that was set back while a question was out does no harm', () => {
  const clock = new ServerClock(() => 1000);
  clock.hear(NOW, 900_000);
  expect(clock.now()).toBe(NOW);
});

test('stamps strictly increase within a millisecond, past its last count, and backwards in time', () => {
  let local = NOW;
  const clock = new ServerClock(() => local);
  let last = clock.stamp(NOTHING);
  for (let i = 0; i < MAX_N + 10; i += 1) {
    if (i === 50) local -= 10_000;
    const next = clock.stamp(NOTHING);
    expect(compareStamps(next, last)).toBeGreaterThan(0);
    last = next;
  }
  expect(last).toEqual({ at: NOW + 1, n: 9 });
});

test('a stamp is above the floor that it is given', () => {
  const clock = new ServerClock(() => NOW);
  expect(clock.stamp({ at: NOW + 5000, n: 3 })).toEqual({ at: NOW + 5000, n: 4 });
  expect(clock.stamp({ at: NOW + 5000, n: MAX_N })).toEqual({ at: NOW + 5001, n: 0 });
});

test('stamps made by a local clock that is ahead hold nothing up once the server is heard', () => {
  const clock = new ServerClock(() => NOW + 3_600_000);
  clock.stamp(NOTHING);
  clock.hear(NOW);
  expect(clock.stamp(NOTHING).at).toBe(NOW);
});

test('a date that is set ahead or back on this machine changes nothing', () => {
  vi.useFakeTimers();
  try {
    const clock = new ServerClock();
    clock.hear(NOW);
    for (const hours of [1, -2]) {
      vi.setSystemTime(Date.now() + hours * 3_600_000);
      expect(clock.now()).toBe(NOW);
    }
    vi.advanceTimersByTime(1500);
    expect(clock.now()).toBe(NOW + 1500);
  } finally {
    vi.useRealTimers();
  }
});

test('stamps that nothing was written with are taken back, down to what may stand somewhere', () => {
  let ahead = 3_600_000;
  const clock = new ServerClock(() => NOW + ahead);
  clock.hear(NOW + ahead);
  const [written, unwritten] = [{ at: NOW - 50, n: 7 }, clock.stamp(NOTHING)];
  ahead = 0;
  expect(compareStamps(clock.stamp(NOTHING), unwritten)).toBeGreaterThan(0);
  clock.lower(written);
  expect(clock.stamp(NOTHING)).toEqual({ at: NOW, n: 0 });
  clock.lower({ at: NOW + 5000, n: 0 });
  expect(clock.stamp(NOTHING)).toEqual({ at: NOW, n: 1 });
});

test('the place of a stamp is read back from the id that it makes', () => {
  const stamp = { at: NOW + 7, n: 4095 };
  expect(stampOf(smallestId(stamp))).toEqual(stamp);
});

test('waits are drawn from the whole span, which doubles up to half a minute', () => {
  const longest = [0, 1, 2, 6, 50].map((failures) => backoffMs(failures, () => 1));
  expect(longest).toEqual([500, 1000, 2000, 30_000, 30_000]);
  expect(backoffMs(50, () => 0)).toBe(0);
  expect(backoffMs(50, () => 0.5)).toBe(15_000);
});

test('a thousand clients left behind at once do not come back at once', () => {
  const waits = Array.from({ length: 1000 }, () => backoffMs(3));
  const soon = waits.filter((wait) => wait < 1000).length;
  expect(Math.max(...waits)).toBeLessThanOrEqual(4000);
  expect(soon).toBeGreaterThan(150);
  expect(soon).toBeLessThan(350);
});
