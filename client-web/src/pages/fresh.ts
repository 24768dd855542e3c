/**
 * What was loaded over HTTP and other devices may change: no frame tells of it, so it is loaded again
 * when somebody looks again, and when the session is another one.
 */

import { useEffect } from 'react';
import { persist } from '../core/backoff.ts';
import type { Client } from '../core/client.ts';
import { useShared } from './shared.ts';

/** Calls `load` whenever what it loads may have changed, until the function that it gives is called. */
export function keepFresh(
  client: Pick<Client, 'state' | 'subscribe'>,
  load: () => Promise<void>,
): () => void {
  let stop = () => {};
  const again = () => {
    stop();
    // A hidden tab loads once it is looked at: when a node dies thousands come back at once.
    if (document.visibilityState === 'visible') stop = persist(load, () => {});
  };
  const isLive = () => client.state().status.phase === 'live';
  let before = isLive();
  let wasLive = before;
  const unsubscribe = client.subscribe(() => {
    const live = isLive();
    if (live && !before && wasLive) again();
    before = live;
    wasLive ||= live;
  });
  document.addEventListener('visibilitychange', again);
  return () => {
    stop();
    unsubscribe();
    document.removeEventListener('visibilitychange', again);
  };
}

/** Calls `load` whenever what it loads may have changed. */
export function useFresh(load: () => Promise<void>): void {
  const { client } = useShared().session;
  useEffect(() => keepFresh(client, load), [client, load]);
}
