/**
 * How everything that happens changes the state: one pure function.
 *
 * Frames come as the server sent them, in their order. What has to be *done* about a change
 * (asking, marking, storing) is decided by the client from the states before and after; nothing
 * is done here, and no clock is read.
 */

import type { ConversationId, InboxEntry, Message, MessageId, Ref, ServerFrame } from '../wire.ts';
import { exhausted } from './codec.ts';
import {
  asCounted,
  lacks,
  startOf,
  withAsked,
  withDeletion,
  withEdit,
  withEntry,
  withMessage,
  withNewestPage,
  withOlderPage,
  withoutOldest,
  withReceipt,
  withSeen,
  withWindow,
} from './conversation.ts';
import { NONE, smallestId } from './ids.ts';
import { byOrder, type Intent } from './intent.ts';
import {
  type Conversation,
  emptyConversation,
  type Question,
  type State,
  type Status,
} from './state.ts';

/** For how long a `typing` frame is shown. */
export const TYPING_MS = 5000;

/** Everything that can happen. */
export type Action =
  | { readonly type: 'frame'; readonly frame: ServerFrame; readonly at: number }
  | { readonly type: 'status'; readonly status: Status }
  /** The cached inbox, down to the head `from`, and messages above the cached heads. */
  | {
      readonly type: 'restored';
      readonly entries: readonly InboxEntry[];
      readonly newer: readonly Message[];
      readonly from: MessageId | '' | undefined;
    }
  /** A cached page: the newest, or the one that ends below `before`. */
  | {
      readonly type: 'cached';
      readonly conversation: ConversationId;
      readonly messages: readonly Message[];
      readonly from: MessageId | '';
      readonly before?: MessageId;
    }
  | { readonly type: 'asked'; readonly ref: Ref; readonly question: Question }
  | { readonly type: 'unanswered'; readonly ref: Ref }
  | { readonly type: 'opened'; readonly conversation: ConversationId; readonly peer: string }
  | { readonly type: 'closed' }
  | { readonly type: 'seen'; readonly conversation: ConversationId; readonly id: MessageId }
  | { readonly type: 'sync_asked'; readonly after: MessageId }
  /** Intents that are new, or changed. */
  | { readonly type: 'intents'; readonly intents: readonly Intent[] }
  | { readonly type: 'dropped'; readonly ref: Ref }
  | { readonly type: 'typing_over'; readonly now: number }
  /** Long threads are cut, but for one that is being read back. */
  | { readonly type: 'cut'; readonly but: ConversationId | undefined };

/** Gives the state after `action`. */
export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case 'frame':
      return onFrame(state, action.frame, action.at);
    case 'status':
      return onStatus(state, action.status);
    case 'restored': {
      const filled = action.entries.reduce(upsert, state);
      const all = action.newer.reduce((to, message) => onMessage(to, message), filled);
      return { ...all, inboxFrom: action.from };
    }
    case 'cached': {
      const { before, messages, from } = action;
      const next = change(state, action.conversation, (held) =>
        before === undefined
          ? withNewestPage(held, messages, from)
          : withOlderPage(held, before, messages, from),
      );
      return settleAll(next, messages);
    }
    case 'asked':
      return onAsked(state, action.ref, action.question);
    case 'unanswered':
      return answered(state, action.ref)[0];
    case 'opened':
      return { ...ensure(state, action.conversation, action.peer), open: action.conversation };
    case 'closed':
      return { ...state, open: undefined };
    case 'seen':
      return change(state, action.conversation, (held) => withSeen(held, action.id));
    case 'sync_asked':
      return { ...state, asked: new Set(state.asked).add(action.after) };
    case 'intents': {
      const refs = new Set(action.intents.map((intent) => intent.ref));
      const others = state.intents.filter((intent) => !refs.has(intent.ref));
      const known = action.intents.reduce(
        (to, intent) => (intent.kind === 'send' ? ensure(to, intent.conversation, intent.to) : to),
        state,
      );
      return { ...known, intents: [...others, ...action.intents].sort(byOrder) };
    }
    case 'dropped':
      return settle(state, action.ref);
    case 'typing_over': {
      const left = Object.entries(state.typing).filter(([, until]) => until > action.now);
      return { ...state, typing: Object.fromEntries(left) };
    }
    case 'cut': {
      // A message that is being changed stays: its ack is applied to it.
      const kept = new Set([action.but, ...state.intents.map((intent) => intent.conversation)]);
      return Object.keys(state.conversations)
        .filter((id) => !kept.has(id))
        .reduce((to, id) => change(to, id, withoutOldest), state);
    }
  }
}

function onAsked(state: State, ref: Ref, question: Question): State {
  const next = { ...state, questions: { ...state.questions, [ref]: question } };
  if (question.about !== 'inbox') return next;
  const about = question.only === undefined ? Object.keys(next.conversations) : [question.only];
  return about.reduce((to, id) => change(to, id, withAsked), next);
}

function onStatus(state: State, status: Status): State {
  if (status.phase === 'catching_up' || status.phase === 'live') return { ...state, status };
  // What was asked on a connection that is gone is not answered any more; who was watched is
  // not known to be there; holes are filled by the catch-up that the next one begins with.
  return { ...state, status, questions: {}, presence: {}, typing: {}, holes: {} };
}

function onFrame(state: State, frame: ServerFrame, at: number): State {
  switch (frame.type) {
    case 'welcome':
      return {
        ...state,
        store: frame.store,
        welcomedAt: state.welcomedAt ?? frame.now,
        textBytes: frame.text_bytes,
        watches: frame.watches,
      };
    case 'ack':
      return onAck(state, frame.ref, frame.id);
    case 'message': {
      const { type: _, ...message } = frame;
      return onMessage(onHole(state, message), message);
    }
    case 'edited':
      return change(state, frame.conversation, (held) =>
        withEdit(held, frame, pageComing(state, frame.conversation)),
      );
    case 'deleted':
      return change(state, frame.conversation, (held) =>
        withDeletion(held, frame, pageComing(state, frame.conversation)),
      );
    case 'receipt':
      // About a conversation that is not known it creates nothing: the inbox will tell.
      return change(state, frame.conversation, (held) => withReceipt(held, frame, state.me));
    case 'presence': {
      const { type: _, ...presence } = frame;
      return { ...state, presence: { ...state.presence, [frame.user]: presence } };
    }
    case 'typing':
      if (frame.user === state.me || state.conversations[frame.conversation] === undefined) {
        return state;
      }
      return { ...state, typing: { ...state.typing, [frame.conversation]: at + TYPING_MS } };
    case 'inbox':
      return onInbox(state, frame);
    case 'history':
      return onHistory(state, frame);
    case 'synced':
      return { ...state, holes: {} };
    case 'reset':
      return onReset(state);
    case 'beat':
    case 'error':
    case 'bye':
      return state;
    default:
      exhausted(frame);
      return state;
  }
}

function change(
  state: State,
  id: ConversationId,
  how: (held: Conversation) => Conversation,
): State {
  const held = state.conversations[id];
  if (held === undefined) return state;
  const next = how(held);
  if (next === held) return state;
  return { ...state, conversations: { ...state.conversations, [id]: next } };
}

function ensure(state: State, id: ConversationId, peer: string): State {
  if (state.conversations[id] !== undefined) return state;
  return {
    ...state,
    conversations: { ...state.conversations, [id]: emptyConversation(id, peer) },
  };
}

function upsert(state: State, entry: InboxEntry): State {
  const known = ensure(state, entry.conversation, entry.peer);
  return change(known, entry.conversation, (held) => withEntry(held, entry, state.me));
}

function pageComing(state: State, id: ConversationId): boolean {
  return Object.values(state.questions).some(
    (question) => question.about === 'history' && question.conversation === id,
  );
}

function settle(state: State, ref: Ref): State {
  if (!state.intents.some((intent) => intent.ref === ref)) return state;
  return { ...state, intents: state.intents.filter((intent) => intent.ref !== ref) };
}

/** What stands in a page is stored: whatever of it still waited in the outbox is done. */
function settleAll(state: State, messages: readonly Message[]): State {
  return messages
    .filter((message) => message.sender === state.me)
    .reduce((to, message) => settle(to, message.ref), state);
}

function onMessage(state: State, message: Message): State {
  const { me } = state;
  const peer = message.sender === me ? message.to : message.sender;
  const known = ensure(state, message.conversation, peer);
  const next = change(known, message.conversation, (held) => withMessage(held, message, me));
  if (message.sender === me) return settle(next, message.ref);
  // Who has sent has stopped writing.
  if (next.typing[message.conversation] === undefined) return next;
  const { [message.conversation]: _, ...typing } = next.typing;
  return { ...next, typing };
}

/** Notes what a pushed message says it comes after, where that is missing. */
function onHole(state: State, { after, conversation }: Message): State {
  const held = state.conversations[conversation];
  if (after === undefined || held === undefined || state.status.phase !== 'live') return state;
  if (state.asked.has(after) || !lacks(held, after)) return state;
  return { ...state, holes: { ...state.holes, [conversation]: after } };
}

function onAck(state: State, ref: Ref, id: MessageId): State {
  const intent = state.intents.find((other) => other.ref === ref);
  if (intent === undefined) return state;
  const next = settle(state, ref);
  switch (intent.kind) {
    case 'send':
      return onMessage(next, {
        id,
        conversation: intent.conversation,
        sender: intent.user,
        to: intent.to,
        ref,
        text: intent.text,
        ...(intent.replyTo !== undefined && { reply_to: intent.replyTo }),
      });
    case 'edit':
      // The edit's own id is not told: the smallest one of its stamp gives way to the true one.
      return change(next, intent.conversation, (held) =>
        withEdit(
          held,
          {
            conversation: intent.conversation,
            id: intent.target,
            edit: smallestId(intent),
            text: intent.text,
          },
          false,
        ),
      );
    case 'delete':
      return change(next, intent.conversation, (held) =>
        withDeletion(held, { id: intent.target }, false),
      );
  }
}

function answered(state: State, ref: Ref | undefined): [State, Question | undefined] {
  if (ref === undefined) return [state, undefined];
  const { [ref]: question, ...questions } = state.questions;
  return [{ ...state, questions }, question];
}

function onInbox(state: State, frame: Extract<ServerFrame, { type: 'inbox' }>): State {
  const filled = frame.entries.reduce(upsert, state);
  const [next, question] = answered(filled, frame.ref);
  if (question?.about !== 'inbox') return next;
  const { only, before = NONE } = question;
  if (only !== undefined) {
    const isTold = frame.entries.some(({ conversation }) => conversation === only);
    // There is a newer head, which will be told: asked again about this one it would say no more.
    return isTold ? next : change(next, only, (held) => asCounted(held, before));
  }
  const from = frame.more ? (frame.entries.at(-1)?.head.id ?? NONE) : NONE;
  const { inboxFrom } = next;
  if (question.before === undefined) return { ...next, inboxFrom: from };
  // A page that does not join what is loaded says nothing about what is between.
  return inboxFrom === undefined || from > inboxFrom ? next : { ...next, inboxFrom: from };
}

function onHistory(state: State, frame: Extract<ServerFrame, { type: 'history' }>): State {
  const [next, question] = answered(state, frame.ref);
  const from = startOf(frame);
  if (frame.ref === undefined) {
    const first = frame.messages[0];
    const peer = first && (first.sender === state.me ? first.to : first.sender);
    const known = peer === undefined ? next : ensure(next, frame.conversation, peer);
    return change(known, frame.conversation, (held) => withWindow(held, frame.messages, from));
  }
  // An answer to nobody's question: asked on a connection before this one.
  if (question?.about !== 'history') return next;
  const { before } = question;
  const filled = change(next, frame.conversation, (held) =>
    before === undefined
      ? withNewestPage(held, frame.messages, from)
      : withOlderPage(held, before, frame.messages, from),
  );
  return settleAll(filled, frame.messages);
}

/** Forgets everything that was told, but what the user has open and what he meant to do. */
function onReset(state: State): State {
  const open = state.open === undefined ? undefined : state.conversations[state.open];
  const kept = state.intents.flatMap((intent) => state.conversations[intent.conversation] ?? []);
  const shells = (open === undefined ? kept : [open, ...kept]).map(
    ({ id, peer, seenUpTo }): [string, Conversation] => [
      id,
      { ...emptyConversation(id, peer), seenUpTo },
    ],
  );
  return {
    ...state,
    conversations: Object.fromEntries(shells),
    inboxFrom: undefined,
    // Their answers may have been read before the reset's cursor: they are asked again.
    questions: {},
    holes: {},
    asked: new Set(),
  };
}
