/** Who is found by what stands in the search field. */

import { useEffect, useState } from 'react';
import type { Person } from '../core/api.ts';
import { useShared } from './shared.ts';

/** Who types on is not asked about each letter. */
const PAUSE_MS = 200;

/** What may begin a user name; the server refuses anything else. */
const PREFIX = /^[a-z0-9_.-]{0,32}$/;

const NOBODY: readonly Person[] = [];

/** Who was found, and by what. */
export interface Answer {
  readonly query: string;
  readonly people: readonly Person[];
}

/** Gives who is found by `query`, or nothing while only something else was asked. */
export function foundBy(query: string, answer: Answer | undefined): readonly Person[] | undefined {
  return answer?.query === query ? answer.people : undefined;
}

/**
 * Gives the people whose user name begins with `query`, or nothing until the server has told; a demo
 * lists everybody.
 */
export function useFound(query: string): readonly Person[] | undefined {
  const { api, config, people, notices } = useShared();
  const [answer, setAnswer] = useState<Answer>();
  const isAskable = PREFIX.test(query) && (query !== '' || config.demo !== null);
  useEffect(() => {
    if (!isAskable) return;
    let old = false;
    const ask = async () => {
      try {
        const found = await api.find(query);
        people.meet(found);
        if (!old) setAnswer({ query, people: found });
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
  return isAskable ? foundBy(query, answer) : NOBODY;
}
