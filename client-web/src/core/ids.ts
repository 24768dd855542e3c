/**
 * Ids as the wire writes them: lower-case UUIDs, which sort as strings.
 *
 * A message id is a UUIDv7: 48 bits of milliseconds, 12 bits `n`, and 62 bits that all
 * attempts of one intent share. Knows nothing of frames, and not what time it is.
 */

import { MAX_N } from '../wire.ts';

/** When something was sent: milliseconds of the server's time, and a count within them. */
export interface Stamp {
  readonly at: number;
  readonly n: number;
}

/** Sorts below every id: "none yet" as a mark, "from the beginning" as a window's start. */
export const NONE = '';

/** Makes a random UUID; `crypto.randomUUID` would need a secure context. */
export function newUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hyphenated(hex);
}

function hyphenated(hex: string): string {
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}

/** Gives the later of two ids or marks. */
export function later(one: string, other: string): string {
  return one > other ? one : other;
}

/** Gives time and count of a message or edit id; of {@link NONE}, the beginning of time. */
export function stampOf(id: string): Stamp {
  if (id === NONE) return { at: 0, n: 0 };
  const hex = id.replaceAll('-', '');
  return { at: Number.parseInt(hex.slice(0, 12), 16), n: Number.parseInt(hex.slice(13, 16), 16) };
}

/** Gives the smallest id of a stamp: the place of a message whose id the server has not told. */
export function smallestId({ at, n }: Stamp): string {
  const time = at.toString(16).padStart(12, '0');
  return hyphenated(`${time}7${n.toString(16).padStart(3, '0')}8000000000000000`);
}

/** Gives the largest id of the stamp that `id` has: a `before` that includes `id` itself. */
export function ceilingOf(id: string): string {
  return `${id.slice(0, 19)}bfff-ffffffffffff`;
}

/** Orders stamps; negative when `one` is earlier. */
export function compareStamps(one: Stamp, other: Stamp): number {
  return one.at - other.at || one.n - other.n;
}

/** Gives the smallest stamp above another. */
export function stampAfter({ at, n }: Stamp): Stamp {
  return n < MAX_N ? { at, n: n + 1 } : { at: at + 1, n: 0 };
}

/**
 * Gives the end of an id that all attempts of one intent share: two ids of one sender that end
 * alike are *twins*, one intent stamped twice.
 *
 * It holds the 62 bits below the variant, and the variant itself, which is the same in every id.
 */
export function lowOf(id: string): string {
  return id.slice(19);
}
