import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ServerClock } from '../src/core/clock.ts';
import { Pulse } from '../src/core/pulse.ts';
import { NOW, sending, TALK } from './given.ts';

/** What a server says that reads nothing at present. */
const UNASKED = { type: 'beat', now: NOW, unasked: true } as const;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** The pulse of a session that was welcomed, and how often it was made anew. */
function given() {
  const done = { beats: 0, renewed: 0, sentAt: undefined as number | undefined };
  const clock = new ServerClock();
  const pulse = new Pulse(
    {
      send: () => {
        done.beats += 1;
        return true;
      },
      waitingMs: (from) =>
        done.sentAt === undefined ? 0 : clock.local() - Math.max(from, done.sentAt),
      renew: () => {
        done.renewed += 1;
        done.sentAt = undefined;
        pulse.turn({ phase: 'waiting', until: 0 });
      },
    },
    clock,
  );
  pulse.turn({ phase: 'catching_up' });
  const meant = () => {
    done.sentAt = clock.local();
  };
  return { pulse, clock, done, meant };
}

test('a session that leaves a beat unanswered for ten seconds is given up', () => {
  const { pulse, done } = given();
  pulse.turn({ phase: 'live' });
  pulse.ask();
  vi.advanceTimersByTime(9_999);
  expect(done.renewed).toBe(0);
  vi.advanceTimersByTime(1);
  expect(done.renewed).toBe(1);
});

test('anything that is heard is a sign of life', () => {
  const { pulse, done } = given();
  pulse.turn({ phase: 'live' });
  pulse.ask();
  vi.advanceTimersByTime(9_000);
  pulse.heard({ type: 'typing', conversation: TALK, user: sending(1).to });
  vi.advanceTimersByTime(60_000);
  expect(done.renewed).toBe(0);
});

test('who waits for a server that says it lives stays, but not for ever with what he wrote', () => {
  const { pulse, done, meant } = given();
  meant();
  const hear = (seconds: number) => {
    for (let second = 0; second < seconds; second += 2) {
      vi.advanceTimersByTime(2_000);
      pulse.tick(true);
      pulse.heard(UNASKED);
    }
  };
  hear(178);
  expect(done.renewed).toBe(0);
  // What he wrote waits for three minutes: another node may be better off.
  hear(4);
  expect(done.renewed).toBe(1);
});

test('a beat that is out is not asked again, which would put its end off for ever', () => {
  const { pulse, done } = given();
  pulse.ask();
  vi.advanceTimersByTime(9_000);
  pulse.ask();
  expect(done).toMatchObject({ beats: 1, renewed: 0 });
  vi.advanceTimersByTime(1_000);
  expect(done.renewed).toBe(1);
});

test('what was written in the queue is waited for from its end on', () => {
  const { pulse, done, meant } = given();
  meant();
  vi.advanceTimersByTime(50_000);
  pulse.turn({ phase: 'live' });
  pulse.heard({ type: 'synced', cursor: 'c1' });
  pulse.tick(false);
  expect(done.renewed).toBe(0);
  vi.advanceTimersByTime(40_001);
  pulse.tick(false);
  expect(done.renewed).toBe(1);
});

test('the answer to a beat sets the clock, with half of its way', () => {
  const { pulse, clock } = given();
  pulse.ask();
  vi.advanceTimersByTime(80);
  pulse.heard({ type: 'beat', now: NOW });
  expect(clock.now()).toBe(NOW + 40);
});

test('a beat that nobody asked for does not set the clock', () => {
  const { pulse, clock } = given();
  pulse.ask();
  pulse.heard({ type: 'beat', now: NOW });
  vi.advanceTimersByTime(5_000);
  pulse.ask();
  vi.advanceTimersByTime(2_000);
  pulse.heard({ ...UNASKED, now: NOW + 1 });
  expect(clock.now()).toBe(NOW + 7_000);
  // Nor does the one that was asked for and lay unread add its way.
  vi.advanceTimersByTime(4_000);
  pulse.heard({ type: 'beat', now: NOW + 11_000 });
  expect(clock.now()).toBe(NOW + 11_000);
});
