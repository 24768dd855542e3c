/** Whom the user has blocked, and the way to change it. */

import { useCallback, useEffect, useState } from 'react';
import { persist } from '../core/backoff.ts';
import type { UserId } from '../wire.ts';
import { Answers } from './answers.ts';
import { useFresh } from './fresh.ts';
import { useShared } from './shared.ts';

/** The blocked, as far as they are known. */
export interface Blocks {
  readonly has: (user: UserId) => boolean;
  readonly set: (user: UserId, blocked: boolean) => void;
}

/** Gives whom the user has blocked. */
export function useBlocks(): Blocks {
  const { api, notices } = useShared();
  const [users, setUsers] = useState<ReadonlySet<UserId>>(new Set());
  const [answers] = useState(() => new Answers());
  const load = useCallback(async () => {
    const holds = answers.ask();
    const blocked = await api.blocks();
    if (holds()) setUsers(new Set(blocked));
  }, [api, answers]);
  useEffect(() => persist(load, notices.failed), [load, notices]);
  useFresh(load);
  return {
    has: (user) => users.has(user),
    set: (user, blocked) => {
      const change = async () => {
        await api.block(user, blocked);
        answers.changed();
        // What the server has is what holds, whichever tab changed it.
        await load();
      };
      change().catch(notices.failed);
    },
  };
}
