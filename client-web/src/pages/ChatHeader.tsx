/** With whom one is talking, and whether he is there. */

import type { Conversation } from '../core/state.ts';
import type { Presence } from '../wire.ts';
import { Avatar } from './Avatar.tsx';
import type { Blocks } from './blocks.ts';
import { Icon } from './icons.tsx';
import { Menu } from './Menu.tsx';
import { go } from './route.ts';
import { useClientState, useShared } from './shared.ts';
import { lastSeen } from './time.ts';
import { useToday } from './today.ts';

function wordsOf(presence: Presence | undefined, today: number): string {
  if (presence === undefined) return '';
  if (presence.online) return 'online';
  return presence.last_seen === undefined ? '' : lastSeen(presence.last_seen, today);
}

/** Shows the head of a chat. */
export function ChatHeader(props: {
  readonly conversation: Conversation;
  readonly name: string;
  readonly blocks: Blocks;
}) {
  const { conversation, name, blocks } = props;
  const { id, peer } = conversation;
  const { me } = useShared().session;
  const { presence, typing } = useClientState();
  const today = useToday();
  const isBlocked = blocks.has(peer);
  return (
    <header className="bar">
      <button
        type="button"
        className="round back"
        aria-label="Back to the chats"
        onClick={() => go(undefined)}
      >
        <Icon name="back" />
      </button>
      <Avatar user={peer} name={name} />
      <div className="who">
        <h2 tabIndex={-1}>
          <bdi>{name}</bdi>
          {peer === me.user && ' (you)'}
          {name !== peer && <span className="handle"> @{peer}</span>}
        </h2>
        <p className="presence">
          {typing[id] === undefined ? (
            wordsOf(presence[peer], today)
          ) : (
            <span className="typing">typing…</span>
          )}
        </p>
      </div>
      {peer !== me.user && (
        <Menu
          label={`More about ${name}`}
          icon="more"
          items={[
            {
              label: isBlocked ? 'Unblock' : 'Block',
              name,
              grave: !isBlocked,
              act: () => blocks.set(peer, !isBlocked),
            },
            { label: 'Close chat', act: () => go(undefined) },
          ]}
        />
      )}
    </header>
  );
}
