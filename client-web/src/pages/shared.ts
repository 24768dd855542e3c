/**
 * What the pages of a logged-in user share, handed down by context: the client and its state,
 * the HTTP side, names, notices.
 */

import { createContext, useContext, useMemo, useSyncExternalStore } from 'react';
import type { Api, Config } from '../core/api.ts';
import type { State } from '../core/state.ts';
import type { Session } from '../session.ts';
import type { Notices } from './notices.ts';
import type { People } from './people.ts';

/** What every page may use. */
export interface Shared {
  readonly api: Api;
  readonly config: Config;
  readonly session: Session;
  readonly people: People;
  readonly notices: Notices;
}

/** Hands {@link Shared} down. */
export const SharedContext = createContext<Shared | undefined>(undefined);

/** Gives what the pages share. */
export function useShared(): Shared {
  const shared = useContext(SharedContext);
  if (shared === undefined) throw new Error('a page outside of SharedContext');
  return shared;
}

/** The shortest time between two paints: a catch-up is a burst of frames, and one picture. */
const PACE_MS = 16;

type Subscribe = (listener: () => void) => () => void;

/** Calls listeners at once, and then no more often than the pace, the last time always. */
function paced(subscribe: Subscribe): Subscribe {
  return (listener) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let missed = false;
    const rest = () => {
      timer = setTimeout(() => {
        timer = undefined;
        if (!missed) return;
        missed = false;
        rest();
        listener();
      }, PACE_MS);
    };
    const unsubscribe = subscribe(() => {
      if (timer !== undefined) {
        missed = true;
        return;
      }
      rest();
      listener();
    });
    return () => {
      clearTimeout(timer);
      unsubscribe();
    };
  };
}

/** Gives the client's state, again whenever it changes. */
export function useClientState(): State {
  const { client } = useShared().session;
  const subscribe = useMemo(() => paced(client.subscribe), [client]);
  return useSyncExternalStore(subscribe, client.state);
}
