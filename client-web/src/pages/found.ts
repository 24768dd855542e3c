/** Who is found by what stands in the search field. */

import { useEffect, useState } from 'react';
import type { Person } from '../core/api.ts';
import { useShared } from './shared.ts';

/** Who types on is not asked about each letter. */
const PAUSE_MS = 200;

/** What may begin a user name; the server refuses anything else. */
const PREFIX = /^[a-z0-9_.-]{0,32}$/;

/** Gives the people whose user name begins with `query`; a demo lists everybody. */
export function useFound(query: string): readonly Person[] {
  const { api, config, people, notices } = useShared();
  const [found, setFound] = useState<readonly Person[]>([]);
  const isAskable = PREFIX.test(query) && (query !== '' || config.demo !== null);
  useEffect(() => {
    if (!isAskable) {
      setFound([]);
      return;
    }
    let old = false;
    const ask = async () => {
      try {
        const answer = await api.find(query);
        people.meet(answer);
        if (!old) setFound(answer);
      } catch (error) {
        // Without a search the list is just shorter; that the server is away is said elsewhere.
        if (!old && query !== '') notices.failed(error);
      }
    };
    const timer = setTimeout(() => void ask(), query === '' ? 0 : PAUSE_MS);
    return () => {
      old = true;
      clearTimeout(timer);
    };
  }, [query, isAskable, api, people, notices]);
  return found;
}
