/** Which day it is, for pages that stay open over midnight. */

import { useSyncExternalStore } from 'react';

/** Gives the local midnight with which today began, or that of another day from now. */
export function midnight(daysFromNow = 0): number {
  const now = new Date();
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + daysFromNow).getTime();
}

/** Calls `listener` when a day may have begun, until the function that it gives is called. */
export function eachDay(listener: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = () => {
    timer = setTimeout(turn, midnight(1) - Date.now());
  };
  const turn = () => {
    wait();
    listener();
  };
  wait();
  // A timer may stand still while the machine sleeps.
  document.addEventListener('visibilitychange', listener);
  return () => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', listener);
  };
}

/** Gives the beginning of the local day, again whenever a new one has begun. */
export function useToday(): number {
  return useSyncExternalStore(eachDay, midnight);
}
