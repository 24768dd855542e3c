/**
 * How long to wait before connecting again: exponential, with full jitter, so that everybody
 * whom a dead node leaves behind does not come back at one moment.
 */

/** The longest wait after the first failure; it doubles with each. */
const FIRST_MS = 500;

/** The longest wait of all. */
const LONGEST_MS = 30_000;

/** Gives the wait after `failures` in a row, drawn by `random` from the whole span. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const span = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 16));
  return Math.round(random() * span);
}
