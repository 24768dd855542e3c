/** Where messages are written, answered and edited: Enter sends, Shift and Enter breaks a line. */

import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Shown } from '../core/views.ts';
import type { ConversationId } from '../wire.ts';
import { Quote } from './Bubble.tsx';
import { drafts } from './drafts.ts';
import { Icon } from './icons.tsx';
import { useClientState, useShared } from './shared.ts';

/** The message that is being answered or edited. */
export interface Subject {
  readonly how: 'reply' | 'edit';
  readonly message: Shown;
}

/** Where a keyboard covers half of the screen the focus waits for a touch. */
function focusIsCheap(): boolean {
  return matchMedia('(pointer: fine)').matches;
}

/** Shows the field and what it is about. */
export function Composer(props: {
  readonly conversation: ConversationId;
  readonly name: string;
  readonly messages: readonly Shown[];
  readonly subject: Subject | undefined;
  readonly setSubject: (subject: Subject | undefined) => void;
}) {
  const { conversation, name, messages, subject, setSubject } = props;
  const { client } = useShared().session;
  const { textBytes } = useClientState();
  const [text, setText] = useState(() => drafts.get(conversation) ?? '');
  const field = useRef<HTMLTextAreaElement>(null);
  const bytes = new TextEncoder().encode(text.trim()).length;
  const isTooLong = bytes > textBytes;

  useEffect(() => {
    if (focusIsCheap()) field.current?.focus();
  }, []);
  useEffect(() => {
    if (subject === undefined) return;
    if (subject.how === 'edit') setText(subject.message.text);
    field.current?.focus();
  }, [subject]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: it grows with its text
  useLayoutEffect(() => {
    const box = field.current;
    if (box === null) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }, [text]);

  const write = (next: string) => {
    setText(next);
    if (subject?.how === 'edit') return;
    drafts.set(conversation, next);
    if (next !== '') client.writing();
  };
  const leaveSubject = () => {
    if (subject?.how === 'edit') setText(drafts.get(conversation) ?? '');
    setSubject(undefined);
  };
  const send = () => {
    const words = text.trim();
    if (words === '' || isTooLong) return;
    const target = subject?.message.id;
    if (subject?.how === 'edit' && target !== undefined) {
      if (words !== subject.message.text) void client.edit(conversation, target, words);
      leaveSubject();
      return;
    }
    void client.say(conversation, words, target);
    write('');
    setSubject(undefined);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While a word is being composed Enter chooses it.
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === 'Escape' && subject !== undefined) {
      leaveSubject();
    } else if (event.key === 'ArrowUp' && text === '') {
      const last = messages.findLast((m) => m.mine && m.id !== undefined && !m.deleted);
      if (last === undefined) return;
      event.preventDefault();
      setSubject({ how: 'edit', message: last });
    }
  };

  return (
    <footer className="composer">
      {subject && (
        <div className="subject">
          {subject.how === 'edit' ? (
            <p>Edit message</p>
          ) : (
            <Quote message={subject.message} peer={name} />
          )}
          <button type="button" className="round" aria-label="Cancel" onClick={leaveSubject}>
            <Icon name="close" />
          </button>
        </div>
      )}
      {isTooLong && (
        <p className="wrong" role="alert">
          {`This is ${bytes} bytes long; ${textBytes} can be sent.`}
        </p>
      )}
      <textarea
        ref={field}
        rows={1}
        aria-label={`Message to ${name}`}
        placeholder="Type a message"
        value={text}
        onChange={(event) => write(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <button
        type="button"
        className="round send"
        aria-label={subject?.how === 'edit' ? 'Save' : 'Send'}
        disabled={text.trim() === '' || isTooLong}
        onClick={send}
      >
        <Icon name={subject?.how === 'edit' ? 'save' : 'send'} />
      </button>
    </footer>
  );
}
