/** Reads messages that arrive to who cannot see them: one place for all chats. */

import { useEffect, useRef, useState } from 'react';
import { NONE } from '../core/ids.ts';
import type { State } from '../core/state.ts';
import { newest } from '../core/thread.ts';
import type { Message, MessageId } from '../wire.ts';
import { useNames } from './people.ts';
import { useClientState } from './shared.ts';

function newestOfOthers({ conversations, me }: State): Message | undefined {
  return Object.values(conversations).reduce<Message | undefined>((best, { thread }) => {
    const last = newest(thread, (message) => message.sender !== me);
    return last !== undefined && last.id > (best?.id ?? NONE) ? last : best;
  }, undefined);
}

/** Announces the newest message of others, unless it was there before the page was. */
export function Announcer() {
  const state = useClientState();
  const names = useNames();
  const heard = useRef<string>(undefined);
  const [said, setSaid] = useState<{ readonly id: MessageId; readonly text: string }>();
  const last = newestOfOthers(state);
  const isLive = state.status.phase === 'live';
  const who = last && (names.get(last.sender) ?? last.sender);

  useEffect(() => {
    if (!isLive) return;
    const before = heard.current;
    heard.current = last?.id ?? NONE;
    // What the first catch-up brought is read in the inbox.
    if (before === undefined || last === undefined || last.id <= before || last.deleted) return;
    setSaid({ id: last.id, text: `${who}: ${last.text}` });
  }, [isLive, last, who]);

  return (
    <div className="unseen" role="log" aria-live="polite" aria-label="New messages">
      {/* By its key, as the same words again are something new. */}
      {said && <p key={said.id}>{said.text}</p>}
    </div>
  );
}
