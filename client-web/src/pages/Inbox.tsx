/** The left side: who is logged in, search, and the chats, newest first. */

import { type UIEvent, useEffect, useMemo, useRef, useState } from 'react';
import type { Person } from '../core/api.ts';
import { inboxOf, type Line } from '../core/views.ts';
import type { UserId } from '../wire.ts';
import { Entry, Stranger } from './Entry.tsx';
import { useFound } from './found.ts';
import { Icon } from './icons.tsx';
import { isOfWord } from './keys.ts';
import { Owner } from './Owner.tsx';
import { useNames } from './people.ts';
import { go } from './route.ts';
import { useClientState, useShared } from './shared.ts';
import { useToday } from './today.ts';

/** Pixels of one line; the same in inbox.css. */
const LINE = 72;

/** Watches the presence of who is on the screen, and loads more when the end comes into view. */
function useScreen(lines: readonly Line[]) {
  const { client } = useShared().session;
  const box = useRef<HTMLDivElement>(null);
  const [first, setFirst] = useState(0);
  const [count, setCount] = useState(20);
  const seen = lines.slice(first, first + count).map((line) => line.peer);
  const key = seen.join(' ');
  useEffect(() => client.look(key === '' ? [] : key.split(' ')), [client, key]);
  useEffect(() => {
    const measure = () => setCount(Math.ceil((box.current?.clientHeight ?? 0) / LINE) + 1);
    measure();
    addEventListener('resize', measure);
    return () => removeEventListener('resize', measure);
  }, []);
  const onScroll = ({ currentTarget }: UIEvent) => {
    setFirst(Math.floor(currentTarget.scrollTop / LINE));
    const below = currentTarget.scrollHeight - currentTarget.scrollTop - currentTarget.clientHeight;
    if (below < 10 * LINE) client.moreInbox();
  };
  return { box, onScroll };
}

/** Shows the inbox; the chat with `peer` is open. */
export function Inbox({ peer }: { readonly peer: UserId | undefined }) {
  const { people } = useShared();
  const state = useClientState();
  const names = useNames();
  const today = useToday();
  const [words, setWords] = useState('');
  const query = words.trim().toLowerCase();
  const all = useMemo(() => inboxOf(state), [state]);
  const lines = all.filter(
    (line) => line.peer.includes(query) || names.get(line.peer)?.toLowerCase().includes(query),
  );
  const found = useFound(query);
  const strangers = (found ?? []).filter((person) =>
    all.every((line) => line.peer !== person.user),
  );
  const isEmpty = lines.length + strangers.length === 0 && (query === '' || found !== undefined);
  const { box, onScroll } = useScreen(lines);

  const choose = (user: UserId) => {
    setWords('');
    go(user);
  };
  const chooseStranger = (person: Person) => {
    people.meet([person]);
    choose(person.user);
  };

  return (
    <nav className="inbox" aria-label="Chats">
      <Owner />
      <search className="search">
        <Icon name="search" />
        <input
          type="search"
          aria-label="Find a user"
          placeholder="Find a user"
          autoCapitalize="none"
          spellCheck={false}
          value={words}
          onChange={(event) => setWords(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || isOfWord(event.nativeEvent)) return;
            const best = lines[0]?.peer ?? strangers[0]?.user;
            if (query !== '' && best !== undefined) choose(best);
          }}
        />
      </search>
      <div className="lines" ref={box} onScroll={onScroll}>
        <ul>
          {lines.map((line) => (
            <Entry
              key={line.conversation}
              line={line}
              isOpen={line.peer === peer}
              isOnline={state.presence[line.peer]?.online ?? false}
              today={today}
            />
          ))}
        </ul>
        {strangers.length > 0 && <h2>Write to</h2>}
        <ul>
          {strangers.map((person) => (
            <Stranger
              key={person.user}
              person={person}
              isOpen={person.user === peer}
              choose={chooseStranger}
            />
          ))}
        </ul>
        {isEmpty && (
          <p className="empty">
            {query === ''
              ? 'No chats yet. Find somebody by the beginning of his user name.'
              : 'Nobody by that name.'}
          </p>
        )}
      </div>
    </nav>
  );
}
