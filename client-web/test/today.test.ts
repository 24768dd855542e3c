/** What a page shows of times when it stays open over midnight. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { brief, clock } from '../src/pages/time.ts';
import { eachDay, midnight } from '../src/pages/today.ts';

const EVENING = new Date(2026, 8, 21, 23, 50).getTime();
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: 'long' }).format(EVENING);
const MINUTE = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ now: EVENING });
  vi.stubGlobal('document', new EventTarget());
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('what was written today is of yesterday as soon as midnight has passed, day after day', () => {
  const shown: string[] = [];
  const stop = eachDay(() => shown.push(brief(EVENING, midnight())));
  expect(brief(EVENING, midnight())).toBe(clock(EVENING));
  vi.advanceTimersByTime(9 * MINUTE);
  expect(shown).toEqual([]);
  vi.advanceTimersByTime(2 * MINUTE);
  expect(shown).toEqual(['Yesterday']);
  vi.advanceTimersByTime(24 * 60 * MINUTE);
  expect(shown).toEqual(['Yesterday', WEEKDAY]);
  stop();
  vi.advanceTimersByTime(48 * 60 * MINUTE);
  expect(shown).toHaveLength(2);
});

test('a machine that slept over midnight shows the new day when it is looked at', () => {
  const shown: string[] = [];
  const stop = eachDay(() => shown.push(brief(EVENING, midnight())));
  vi.setSystemTime(EVENING + 9 * 60 * MINUTE);
  document.dispatchEvent(new Event('visibilitychange'));
  expect(shown).toEqual(['Yesterday']);
  stop();
});
