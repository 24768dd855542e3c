/** The right side: one conversation, with what is being written in it. */

import { useMemo, useState } from 'react';
import type { Conversation } from '../core/state.ts';
import { type Shown, threadOf } from '../core/views.ts';
import type { Blocks } from './blocks.ts';
import { ChatHeader } from './ChatHeader.tsx';
import { Composer, type Subject } from './Composer.tsx';
import { Confirm, type Question } from './Confirm.tsx';
import { Messages } from './Messages.tsx';
import { useName } from './people.ts';
import { useClientState, useShared } from './shared.ts';

/** Shows a conversation; `onBottom` hears whether its newest message is in view. */
export function Chat(props: {
  readonly conversation: Conversation;
  readonly blocks: Blocks;
  readonly onBottom: (atBottom: boolean) => void;
}) {
  const { conversation, blocks, onBottom } = props;
  const { id, peer } = conversation;
  const { client } = useShared().session;
  const state = useClientState();
  const name = useName(peer);
  const [subject, setSubject] = useState<Subject>();
  const [question, setQuestion] = useState<Question>();
  const { intents } = state;
  // biome-ignore lint/correctness/useExhaustiveDependencies: nothing else of the state is read
  const messages = useMemo(() => threadOf(state, id), [conversation, intents]);

  const actions = useMemo(
    () => ({
      reply: (message: Shown) => setSubject({ how: 'reply', message }),
      edit: (message: Shown) => setSubject({ how: 'edit', message }),
      remove: ({ id: target }: Shown) => {
        if (target === undefined) return;
        setQuestion({
          title: 'Delete this message?',
          text: 'It is deleted for both of you.',
          yes: 'Delete',
          act: () => void client.remove(id, target),
        });
      },
      again: (ref: string) => void client.again(ref),
      dismiss: (ref: string) => client.dismiss(ref),
    }),
    [client, id],
  );

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
        <footer className="blocked">
          <p>You have blocked {name}.</p>
          <button type="button" onClick={() => blocks.set(peer, false)}>
            Unblock
          </button>
        </footer>
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
