/** One line of the inbox: a chat, or somebody to begin one with. */

import { memo } from 'react';
import type { Person } from '../core/api.ts';
import type { Line } from '../core/views.ts';
import { Avatar } from './Avatar.tsx';
import { alike } from './alike.ts';
import { useName } from './people.ts';
import { hrefOf } from './route.ts';
import { Ticks } from './Ticks.tsx';
import { brief } from './time.ts';

interface EntryProps {
  readonly line: Line;
  readonly isOpen: boolean;
  readonly isOnline: boolean;
  /** A time of the day on which it is read. */
  readonly today: number;
}

/** Shows a chat. */
export const Entry = memo(
  function Entry({ line, isOpen, isOnline, today }: EntryProps) {
    const name = useName(line.peer);
    return (
      <li>
        <a className="line" href={hrefOf(line.peer)} aria-current={isOpen ? 'page' : undefined}>
          <Avatar user={line.peer} name={name} online={isOnline} />
          <span className="line-name" dir="auto">
            {name}
          </span>
          <time className="line-time" dateTime={new Date(line.at).toISOString()}>
            {brief(line.at, today)}
          </time>
          <span className="line-last">
            <Last line={line} />
          </span>
          {line.unread > 0 && (
            <span className="badge">
              {line.unread > 999 ? '999+' : line.unread}
              <span className="unseen"> unread</span>
            </span>
          )}
        </a>
      </li>
    );
  },
  ({ line: one, ...rest }, { line: other, ...others }) => alike(one, other) && alike(rest, others),
);

function Last({ line }: { readonly line: Line }) {
  if (line.typing) return <em className="typing">typing…</em>;
  return (
    <>
      {line.tick !== undefined && !line.deleted && <Ticks tick={line.tick} />}
      <span className="preview" dir="auto">
        {line.deleted ? <em>Message deleted</em> : line.preview}
      </span>
    </>
  );
}

/** Shows somebody with whom there is no chat yet. */
export function Stranger(props: {
  readonly person: Person;
  readonly isOpen: boolean;
  readonly choose: (person: Person) => void;
}) {
  const { person, isOpen, choose } = props;
  return (
    <li>
      <a
        className="line"
        href={hrefOf(person.user)}
        aria-current={isOpen ? 'page' : undefined}
        onClick={() => choose(person)}
      >
        <Avatar user={person.user} name={person.name} />
        <span className="line-name" dir="auto">
          {person.name}
        </span>
        <span className="line-last">@{person.user}</span>
      </a>
    </li>
  );
}
