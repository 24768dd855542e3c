/** The messages of a conversation in order, under the days on which they were written. */

import { useMemo } from 'react';
import { unread } from '../core/conversation.ts';
import { NONE } from '../core/ids.ts';
import type { Conversation } from '../core/state.ts';
import type { Shown } from '../core/views.ts';
import { type Actions, Bubble } from './Bubble.tsx';
import { focusChat } from './focus.ts';
import { Icon } from './icons.tsx';
import { useScroll } from './scroll.ts';
import { useShared } from './shared.ts';
import { day, sameDay } from './time.ts';
import { useToday } from './today.ts';

/** Shows a thread. */
export function Messages(props: {
  readonly conversation: Conversation;
  readonly name: string;
  readonly messages: readonly Shown[];
  readonly actions: Actions;
  readonly onBottom: (atBottom: boolean) => void;
}) {
  const { conversation, name, messages, actions, onBottom } = props;
  const { client, me } = useShared().session;
  const { id, from } = conversation;
  const today = useToday();
  const scroll = useScroll(messages, onBottom, () => client.older(id));
  const byId = useMemo(() => new Map(messages.map((message) => [message.id, message])), [messages]);
  const fresh = unread(conversation, me.user);

  return (
    <div className="thread">
      <section
        className="scroll"
        ref={scroll.box}
        onScroll={scroll.onScroll}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
        tabIndex={0}
        aria-label="Messages"
      >
        <ol ref={scroll.content}>
          {from !== undefined && from !== NONE && (
            <li className="older">Loading older messages…</li>
          )}
          {messages.map((message, i) => {
            const before = messages[i - 1];
            const opensDay = before === undefined || !sameDay(before.at, message.at);
            const opensTurn = opensDay || before.mine !== message.mine;
            return (
              <li
                key={message.key}
                data-key={message.key}
                className={opensTurn ? 'turn' : undefined}
              >
                {opensDay && <p className="day">{day(message.at, today)}</p>}
                <Bubble
                  message={message}
                  answered={message.replyTo === undefined ? undefined : byId.get(message.replyTo)}
                  peer={name}
                  actions={actions}
                />
              </li>
            );
          })}
        </ol>
      </section>
      {!scroll.atBottom && (
        <button
          type="button"
          className="newest"
          onClick={() => {
            scroll.toBottom();
            focusChat();
          }}
        >
          {fresh > 0 ? `${fresh} new ${fresh === 1 ? 'message' : 'messages'}` : 'Newest messages'}
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}
