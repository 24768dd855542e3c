/** The page of a logged-in user: inbox left, chat right; one of the two where room is scarce. */

import { useEffect, useRef, useState } from 'react';
import { isLoggedOut } from '../core/state.ts';
import { unreadInAll } from '../core/views.ts';
import type { UserId } from '../wire.ts';
import { Announcer } from './Announcer.tsx';
import { useAttention } from './attention.ts';
import { Banner } from './Banner.tsx';
import { useBlocks } from './blocks.ts';
import { Chat } from './Chat.tsx';
import { focusLine } from './focus.ts';
import { Inbox } from './Inbox.tsx';
import { go, useOpenPeer } from './route.ts';
import { useClientState, useShared } from './shared.ts';

/** Sees to it that the conversation with `peer` is the open one. */
function useOpenConversation(peer: UserId | undefined): void {
  const { session, api, people, notices } = useShared();
  const { client } = session;
  useEffect(() => {
    if (peer === undefined) {
      client.close();
      return;
    }
    const { conversations } = client.state();
    const known = Object.values(conversations).find((held) => held.peer === peer);
    if (known !== undefined) {
      client.open(known.id, peer);
      return;
    }
    client.close();
    let left = false;
    const look = async () => {
      try {
        const person = await api.person(peer);
        people.meet([person]);
        if (!left) client.open(person.conversation, peer);
      } catch (error) {
        if (left) return;
        notices.failed(error);
        go(undefined);
      }
    };
    void look();
    return () => {
      left = true;
    };
  }, [peer, client, api, people, notices]);
}

/** Sees to it that closing a chat leaves the focus at its line. */
function useFocusOnClose(peer: UserId | undefined): void {
  const before = useRef(peer);
  useEffect(() => {
    if (peer === undefined && before.current !== undefined) focusLine(before.current);
    before.current = peer;
  }, [peer]);
}

/** Shows inbox and chat, for as long as the user is logged in. */
export function Chats() {
  const { wayOut } = useShared().session;
  const state = useClientState();
  if (!isLoggedOut(state)) return <Panes />;
  return wayOut.isTaken ? <Leaving /> : <LoggedOut />;
}

/** Shows nothing more to a user who has logged out here, until the page begins anew. */
function Leaving() {
  return <main className="beginning" aria-busy="true" aria-label="Logging out" />;
}

/** Says that the log-in is over, which may have been ended on another device. */
function LoggedOut() {
  useEffect(() => {
    document.title = 'Rally';
  }, []);
  return (
    <main className="beginning">
      <p role="alert">You are logged out.</p>
      <button type="button" className="main" onClick={() => location.replace('/')}>
        Log in
      </button>
    </main>
  );
}

function Panes() {
  const { session } = useShared();
  const state = useClientState();
  const peer = useOpenPeer();
  const blocks = useBlocks();
  const [atBottom, setAtBottom] = useState(true);
  useOpenConversation(peer);
  useFocusOnClose(peer);
  useAttention(session, atBottom);

  const unread = unreadInAll(state);
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Rally` : 'Rally';
  }, [unread]);

  const { open } = state;
  const conversation = open === undefined ? undefined : state.conversations[open];
  const ready = peer !== undefined && conversation?.peer === peer;
  return (
    <div className={peer === undefined ? 'chats' : 'chats chats-open'}>
      <Banner />
      <Inbox peer={peer} />
      {ready ? (
        <Chat
          key={conversation.id}
          conversation={conversation}
          blocks={blocks}
          onBottom={setAtBottom}
        />
      ) : (
        <main className="nobody" aria-busy={peer !== undefined}>
          {peer === undefined && <p>Choose a chat, or find somebody to write to.</p>}
        </main>
      )}
      <Announcer />
    </div>
  );
}
