/** Whom the user has blocked, and the way to change it. */

import { useCallback, useEffect, useState } from 'react';
import { persist } from '../core/backoff.ts';
import type { UserId } from '../wire.ts';
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
  const load = useCallback(async () => setUsers(new Set(await api.blocks())), [api]);
  useEffect(() => persist(load, notices.failed), [load, notices]);
  useFresh(load);
  return {
    has: (user) => users.has(user),
    set: (user, blocked) => {
      // What the server has is what holds, whichever tab changed it.
      api.block(user, blocked).then(load).catch(notices.failed);
    },
  };
}
