/** One message: its text, when it was written, how far it got, and what can be done with it. */

import { memo } from 'react';
import type { Shown } from '../core/views.ts';
import type { Ref } from '../wire.ts';
import { alike } from './alike.ts';
import { Menu, type MenuItem } from './Menu.tsx';
import { Ticks } from './Ticks.tsx';
import { clock } from './time.ts';

/** What can be done with a message. */
export interface Actions {
  readonly reply: (message: Shown) => void;
  readonly edit: (message: Shown) => void;
  readonly remove: (message: Shown) => void;
  readonly again: (ref: Ref) => void;
  readonly dismiss: (ref: Ref) => void;
}

interface BubbleProps {
  readonly message: Shown;
  readonly answered: Shown | undefined;
  readonly peer: string;
  readonly actions: Actions;
}

function itemsOf(message: Shown, actions: Actions): readonly MenuItem[] {
  const reply = { label: 'Reply', act: () => actions.reply(message) };
  if (!message.mine) return [reply];
  return [
    reply,
    { label: 'Edit', act: () => actions.edit(message) },
    { label: 'Delete', grave: true, act: () => actions.remove(message) },
  ];
}

/** Draws a message. */
export const Bubble = memo(
  function Bubble({ message, answered, peer, actions }: BubbleProps) {
    const { id, mine, text, at, edited, deleted, replyTo, tick } = message;
    // Until it is confirmed, and once it is deleted, there is nothing to do with it.
    const isActive = id !== undefined && !deleted;
    return (
      <article className={`bubble ${mine ? 'mine' : 'theirs'}`}>
        <span className="unseen">
          <bdi>{mine ? 'You' : peer}</bdi>:{' '}
        </span>
        {replyTo !== undefined && !deleted && <Quote message={answered} peer={peer} />}
        {deleted ? (
          <em className="gone">Message deleted</em>
        ) : (
          <span className="text" dir="auto">
            {text}
          </span>
        )}
        <span className="meta">
          {edited && <span>edited </span>}
          <time dateTime={new Date(at).toISOString()}>{clock(at)}</time>
          {tick !== undefined && <Ticks tick={tick} />}
        </span>
        {isActive && (
          <Menu
            label="What to do with this message"
            icon="down"
            items={itemsOf(message, actions)}
          />
        )}
        <Failed message={message} actions={actions} />
      </article>
    );
  },
  (one, other) =>
    alike(one.message, other.message) &&
    one.answered?.text === other.answered?.text &&
    one.peer === other.peer &&
    one.actions === other.actions,
);

/** Shows what a message answers. */
export function Quote(props: { readonly message: Shown | undefined; readonly peer: string }) {
  const { message, peer } = props;
  return (
    <blockquote>
      <b dir="auto">{message === undefined ? 'Answer' : message.mine ? 'You' : peer}</b>
      <span dir="auto">
        {message === undefined ? 'to an older message' : message.text || 'Message deleted'}
      </span>
    </blockquote>
  );
}

function Failed({ message, actions }: { readonly message: Shown; readonly actions: Actions }) {
  const { id, failure, failedRef } = message;
  if (failure === undefined || failedRef === undefined) return null;
  return (
    <div className="failed" role="alert">
      <p>
        {id === undefined ? 'Not sent' : 'Not changed'}: {failure.text}
      </p>
      <button type="button" onClick={() => actions.again(failedRef)}>
        Retry
      </button>
      <button type="button" onClick={() => actions.dismiss(failedRef)}>
        Dismiss
      </button>
    </div>
  );
}
