/** Compares what pages are drawn from, so that what stayed the same is not drawn again. */

/** Tells whether two flat objects have the same values. */
export function alike<T extends object>(one: T, other: T): boolean {
  const keys = Object.keys(one) as (keyof T)[];
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.is(one[key], other[key]))
  );
}
