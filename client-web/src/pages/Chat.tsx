/** The right side: one conversation, with what is being written in it. */

import { useCallback, useEffect, useMemo, useState } from 'react';
import type { Conversation } from '../core/state.ts';
import type { Drafts } from '../core/store/drafts.ts';
import { type Shown, threadOf } from '../core/views.ts';
import type { ConversationId } from '../wire.ts';
import type { Blocks } from './blocks.ts';
import { ChatHeader } from './ChatHeader.tsx';
import { Composer, replyOf, type Subject } from './Composer.tsx';
import { Confirm, type Question } from './Confirm.tsx';
import { focusChat, focusChatIfFree } from './focus.ts';
import { Messages } from './Messages.tsx';
import { useName } from './people.ts';
import { useClientState, useShared } from './shared.ts';

/** Gives what the composer is about; that it answers a message survives a reload. */
function useSubject(drafts: Drafts, conversation: ConversationId) {
  const [subject, set] = useState(() => replyOf(drafts.get(conversation)));
  const setSubject = useCallback(
    (next: Subject | undefined) => {
      set(next);
      // An edit only interrupts what was begun.
      if (next?.how !== 'edit') drafts.change(conversation, { replyTo: next?.id });
    },
    [drafts, conversation],
  );
  return [subject, setSubject] as const;
}

/** Shows a conversation; `onBottom` hears whether its newest message is in view. */
export function Chat(props: {
  readonly conversation: Conversation;
  readonly blocks: Blocks;
  readonly onBottom: (atBottom: boolean) => void;
}) {
  const { conversation, blocks, onBottom } = props;
  const { id, peer } = conversation;
  const { client, drafts } = useShared().session;
  const state = useClientState();
  const name = useName(peer);
  const [subject, setSubject] = useSubject(drafts, id);
  const [question, setQuestion] = useState<Question>();
  const { intents } = state;
  // biome-ignore lint/correctness/useExhaustiveDependencies: nothing else of the state is read
  const messages = useMemo(() => threadOf(state, id), [conversation, intents]);

  const actions = useMemo(
    () => ({
      reply: ({ id: answered }: Shown) => {
        if (answered !== undefined) setSubject({ how: 'reply', id: answered });
      },
      edit: (message: Shown) => setSubject({ how: 'edit', message }),
      remove: ({ id: target }: Shown) => {
        if (target === undefined) return;
        setQuestion({
          title: 'Delete this message?',
          text: 'It is deleted for both of you.',
          yes: 'Delete',
          act: () => {
            void client.remove(id, target);
            // The dialog gives the focus back to a menu that goes with the message.
            focusChat();
          },
        });
      },
      again: (ref: string) => {
        void client.again(ref);
        focusChat();
      },
      dismiss: (ref: string) => {
        client.dismiss(ref);
        focusChat();
      },
    }),
    [client, id, setSubject],
  );

  useEffect(focusChat, []);

  return (
    <main className="chat" aria-label={`Chat with ${name}`}>
      <ChatHeader conversation={conversation} name={name} blocks={blocks} />
      <Messages
        conversation={conversation}
        name={name}
        messages={messages}
        actions={actions}
        onBottom={onBottom}
      />
      {blocks.has(peer) ? (
        <Blocked name={name} unblock={() => blocks.set(peer, false)} />
      ) : (
        <Composer
          conversation={id}
          name={name}
          messages={messages}
          subject={subject}
          setSubject={setSubject}
        />
      )}
      {question && <Confirm question={question} close={() => setQuestion(undefined)} />}
    </main>
  );
}

function Blocked({ name, unblock }: { readonly name: string; readonly unblock: () => void }) {
  useEffect(focusChatIfFree, []);
  return (
    <footer className="blocked">
      <p>
        You have blocked <bdi>{name}</bdi>.
      </p>
      <button type="button" onClick={unblock}>
        Unblock
      </button>
    </footer>
  );
}
