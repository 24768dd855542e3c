import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ServerClock } from '../src/core/clock.ts';
import { Pulse } from '../src/core/pulse.ts';
import { NOW, sending, TALK } from './given.ts';

const SEND = { type: 'typing', conversation: TALK } as const;

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
      send: (frame) => {
        done.beats += 1;
        pulse.wrote(frame);
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
  /** Lets a client go on that looks every 20 s. */
  const pass = (seconds: number) => {
    for (let second = 1; second <= seconds; second += 1) {
      vi.advanceTimersByTime(1000);
      if (second % 20 === 0) pulse.tick(true);
    }
  };
  const meant = () => {
    done.sentAt = clock.local();
    pulse.wrote(SEND);
  };
  return { pulse, clock, done, pass, meant };
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

test('who has written something stays a minute in the queue of a loaded server', () => {
  const { done, pass, meant } = given();
  meant();
  pass(59);
  expect(done.renewed).toBe(0);
  pass(40);
  expect(done.renewed).toBe(1);
});

test('a beat that is out is not asked again, which would put its end off for ever', () => {
  const { pulse, done, pass } = given();
  pulse.wrote(SEND);
  pass(79);
  expect(done).toMatchObject({ beats: 1, renewed: 0 });
  pass(1);
  expect(done.renewed).toBe(1);
});

test('who has written nothing but beats is answered at once, and waits no longer for it', () => {
  const { done, pass } = given();
  pass(29);
  expect(done.renewed).toBe(0);
  pass(1);
  expect(done.renewed).toBe(1);
});

test('what was written in the queue is waited for from its end on', () => {
  const { pulse, done, pass, meant } = given();
  meant();
  pass(50);
  pulse.turn({ phase: 'live' });
  pulse.heard({ type: 'synced', cursor: 'c1' });
  pulse.tick(false);
  expect(done.renewed).toBe(0);
  vi.advanceTimersByTime(40_001);
  pulse.tick(false);
  expect(done.renewed).toBe(1);
});

test('each session has its own queue', () => {
  const { pulse, done, meant } = given();
  meant();
  pulse.turn({ phase: 'waiting', until: 0 });
  done.sentAt = undefined;
  pulse.turn({ phase: 'catching_up' });
  pulse.ask();
  vi.advanceTimersByTime(10_000);
  expect(done.renewed).toBe(1);
});

test('the answer to a beat sets the clock, with half of its way', () => {
  const { pulse, clock } = given();
  pulse.ask();
  vi.advanceTimersByTime(80);
  pulse.heard({ type: 'beat', now: NOW });
  expect(clock.now()).toBe(NOW + 40);
});
