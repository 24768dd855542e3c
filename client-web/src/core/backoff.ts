/**
 * How long to wait before trying again: exponential, with full jitter, so that everybody whom a
 * dead node leaves behind does not come back at one moment.
 */

import { Problem } from './api.ts';

/** The longest wait after the first failure; it doubles with each. */
const FIRST_MS = 500;

/** The longest wait of all. */
const LONGEST_MS = 30_000;

/** Gives the wait after `failures` in a row, drawn by `random` from the whole span. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const span = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 16));
  return Math.round(random() * span);
}

/** The longest wait that a timer keeps: a longer one would be over at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Gives a wait that the server asked for as one that a timer keeps. */
export function timerMs(askedMs: number): number {
  return Math.min(askedMs, LONGEST_TIMER_MS);
}

/**
 * Gives the wait before a request is made again that failed with `error` after `failures` others in
 * a row; nothing when the next answer would be the same: there is no such thing, or no log-in.
 */
export function againAfterMs(error: unknown, failures: number): number | undefined {
  const { status, retryAfterMs = 0 } = error instanceof Problem ? error : { status: 0 };
  if (status === 404 || status === 401) return undefined;
  return timerMs(retryAfterMs + backoffMs(failures));
}

/**
 * Does `work` until it succeeds, or until that is of no use; gives the way to stop. `failed` hears
 * of the first failure.
 */
export function persist(work: () => Promise<void>, failed: (error: unknown) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;
  const attempt = async (failures: number) => {
    try {
      await work();
    } catch (error) {
      if (isStopped) return;
      if (failures === 0) failed(error);
      const wait = againAfterMs(error, failures);
      if (wait !== undefined) timer = setTimeout(() => void attempt(failures + 1), wait);
    }
  };
  void attempt(0);
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}
