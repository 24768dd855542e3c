/** Where messages are written, answered and edited: Enter sends, Shift and Enter breaks a line. */

import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Draft } from '../core/store/drafts.ts';
import { excess } from '../core/text.ts';
import type { Shown } from '../core/views.ts';
import type { ConversationId, MessageId } from '../wire.ts';
import { Quote } from './Bubble.tsx';
import { focusChatIfFree } from './focus.ts';
import { Icon } from './icons.tsx';
import { isOfWord } from './keys.ts';
import { useClientState, useShared } from './shared.ts';

/** The message that is being answered, which may not be loaded, or edited. */
export type Subject =
  | { readonly how: 'reply'; readonly id: MessageId }
  | { readonly how: 'edit'; readonly message: Shown };

/** Gives what a draft answers. */
export function replyOf({ replyTo }: Draft): Subject | undefined {
  return replyTo === undefined ? undefined : { how: 'reply', id: replyTo };
}

/** What an edit has made of its message so far. */
export interface Edit {
  readonly of: Subject;
  readonly text: string;
}

/** Gives what stands in the field: of an edit the message, else the draft, however the edit was left. */
export function textIn(
  subject: Subject | undefined,
  draft: string,
  edit: Edit | undefined,
): string {
  if (subject?.how !== 'edit') return draft;
  return edit?.of === subject ? edit.text : subject.message.text;
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
  const { client, drafts } = useShared().session;
  const { textBytes } = useClientState();
  const [draft, setDraft] = useState(() => drafts.get(conversation).text);
  const [edit, setEdit] = useState<Edit>();
  const text = textIn(subject, draft, edit);
  const field = useRef<HTMLTextAreaElement>(null);
  const tooLong = excess(text.trim(), textBytes);

  // It also comes when somebody is unblocked, maybe on another device.
  useEffect(focusChatIfFree, []);
  const subjectBefore = useRef(subject);
  useEffect(() => {
    const isChosen = subject !== undefined && subject !== subjectBefore.current;
    subjectBefore.current = subject;
    if (isChosen) field.current?.focus();
  }, [subject]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: it grows with its text
  useLayoutEffect(() => {
    const box = field.current;
    if (box === null) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }, [text]);

  const write = (next: string) => {
    if (subject?.how === 'edit') {
      setEdit({ of: subject, text: next });
      return;
    }
    setDraft(next);
    drafts.change(conversation, { text: next });
    if (next !== '') client.writing();
  };
  const leaveSubject = () => {
    setSubject(subject?.how === 'edit' ? replyOf(drafts.get(conversation)) : undefined);
    // Its button goes with it.
    field.current?.focus();
  };
  const send = () => {
    const words = text.trim();
    if (words === '' || tooLong !== undefined) return;
    if (subject?.how === 'edit') {
      const { id, text: before } = subject.message;
      if (id !== undefined && words !== before) void client.edit(conversation, id, words);
      leaveSubject();
      return;
    }
    void client.say(conversation, words, subject?.id);
    write('');
    leaveSubject();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (isOfWord(event.nativeEvent)) return;
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
            <Quote message={messages.find(({ id }) => id === subject.id)} peer={name} />
          )}
          <button type="button" className="round" aria-label="Cancel" onClick={leaveSubject}>
            <Icon name="close" />
          </button>
        </div>
      )}
      {tooLong !== undefined && (
        <p className="wrong" role="alert">
          {tooLong}
        </p>
      )}
      <textarea
        ref={field}
        rows={1}
        dir="auto"
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
        disabled={text.trim() === '' || tooLong !== undefined}
        onClick={send}
      >
        <Icon name={subject?.how === 'edit' ? 'save' : 'send'} />
      </button>
    </footer>
  );
}
