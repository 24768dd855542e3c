/** Reads messages that arrive to who cannot see them: one place for all chats. */

import { useEffect, useMemo, useRef, useState } from 'react';
import { lowOf } from '../core/ids.ts';
import { arrived } from '../core/views.ts';
import type { Message, MessageId } from '../wire.ts';
import { useNames } from './people.ts';
import { useClientState } from './shared.ts';

/** Gives those messages that were not `heard`, and notes that they are now; twins are one. */
export function unheard(messages: readonly Message[], heard: Set<string>): readonly Message[] {
  const fresh = messages.filter(({ id }) => !heard.has(lowOf(id)));
  for (const { id } of fresh) heard.add(lowOf(id));
  return fresh.filter(({ deleted }) => !deleted);
}

interface Said {
  readonly id: MessageId;
  readonly text: string;
}

/** Announces what others write; what is older than the session is read in the inbox. */
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
    setSaid(
      fresh.map(({ id, sender, text }) => ({
        id,
        text: `${names.get(sender) ?? sender}: ${text}`,
      })),
    );
  }, [messages, names]);

  return (
    <div className="unseen" role="log" aria-live="polite" aria-label="New messages">
      {/* By their keys, as the same words again are something new. */}
      {said.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  );
}
