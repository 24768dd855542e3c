/** Reads messages that arrive to who cannot see them: one place for all chats. */

import { useEffect, useState } from 'react';
import { lowOf } from '../core/ids.ts';
import type { State } from '../core/state.ts';
import { arrived } from '../core/views.ts';
import type { Message, MessageId, UserId } from '../wire.ts';
import { useNames } from './people.ts';
import { useClientState } from './shared.ts';

/** Hears what is new in one state after another. */
export class Ears {
  /** What was heard, by what twins share: they are one. */
  readonly #heard = new Set<string>();
  #before: State | undefined;

  /**
   * Gives what is new, and was neither deleted meanwhile nor read before, as on another device. What
   * comes during a catch-up is given at its end, all at once.
   */
  hear(state: State): readonly Message[] {
    // By the marks of before: what is read the moment it comes is new all the same.
    const messages = arrived(state, this.#before ?? state);
    this.#before = state;
    if (state.status.phase !== 'live') return [];
    const fresh = messages.filter(({ id }) => !this.#heard.has(lowOf(id)));
    for (const { id } of fresh) this.#heard.add(lowOf(id));
    return fresh.filter(({ deleted }) => !deleted);
  }
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
  const [ears] = useState(() => new Ears());
  const [said, setSaid] = useState<readonly Said[]>([]);
  const { conversations, welcomedAt } = state;
  const { phase } = state.status;

  // biome-ignore lint/correctness/useExhaustiveDependencies: nothing else of the state is heard
  useEffect(() => {
    const fresh = ears.hear(state);
    if (fresh.length === 0) return;
    setSaid(saidOf(fresh, (user) => names.get(user) ?? user));
  }, [ears, conversations, welcomedAt, phase, names]);

  return (
    <div className="unseen" role="log" aria-live="polite" aria-label="New messages">
      {/* By their keys, as the same words again are something new. */}
      {said.map(({ key, text }) => (
        <p key={key}>{text}</p>
      ))}
    </div>
  );
}
