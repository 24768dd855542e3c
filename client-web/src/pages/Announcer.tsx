/** Reads messages that arrive to who cannot see them: one place for all chats. */

import { useEffect, useMemo, useRef, useState } from 'react';
import { lowOf } from '../core/ids.ts';
import { arrived } from '../core/views.ts';
import type { Message, MessageId, UserId } from '../wire.ts';
import { useNames } from './people.ts';
import { useClientState } from './shared.ts';

/** Gives those messages that were not `heard`, and notes that they are now; twins are one. */
export function unheard(messages: readonly Message[], heard: Set<string>): readonly Message[] {
  const fresh = messages.filter(({ id }) => !heard.has(lowOf(id)));
  for (const { id } of fresh) heard.add(lowOf(id));
  return fresh.filter(({ deleted }) => !deleted);
}

/** How many messages that come at once are read out; of more, as after a night, their number is. */
const READ_OUT = 5;

interface Said {
  readonly key: MessageId;
  readonly text: string;
}

/** Gives what is read out of messages that came at once. */
export function saidOf(fresh: readonly Message[], nameOf: (user: UserId) => string): Said[] {
  const last = fresh.at(-1);
  if (last !== undefined && fresh.length > READ_OUT) {
    return [{ key: last.id, text: `${fresh.length} new messages` }];
  }
  return fresh.map(({ id, sender, text }) => ({ key: id, text: `${nameOf(sender)}: ${text}` }));
}

/** Announces what others write; what is older than the page's first session is read in the inbox. */
export function Announcer() {
  const state = useClientState();
  const names = useNames();
  const heard = useRef(new Set<string>());
  const [said, setSaid] = useState<readonly Said[]>([]);
  const { conversations, welcomedAt } = state;
  // biome-ignore lint/correctness/useExhaustiveDependencies: nothing else of the state is read
  const messages = useMemo(() => arrived(state), [conversations, welcomedAt]);

  useEffect(() => {
    const fresh = unheard(messages, heard.current);
    if (fresh.length === 0) return;
    setSaid(saidOf(fresh, (user) => names.get(user) ?? user));
  }, [messages, names]);

  return (
    <div className="unseen" role="log" aria-live="polite" aria-label="New messages">
      {/* By their keys, as the same words again are something new. */}
      {said.map(({ key, text }) => (
        <p key={key}>{text}</p>
      ))}
    </div>
  );
}
