// Generated from schema/ by `cargo xtask gen`; do not edit. Drift fails the check.

export type UserId = string;

export type NodeId = string;

export type ClientId = string;

export type ConversationId = string;

export type Ref = string;

export type StoreId = string;

export type MessageId = string;

export type EditId = string;

export type ErrorCode = "bad_frame" | "unknown_type" | "binary_frame" | "hello_expected" | "bad_ticket" | "too_many_sessions" | "text_empty" | "text_too_long" | "clock" | "ahead" | "expired" | "ref_conflict" | "held" | "unknown" | "rate" | "busy" | "unreachable" | "unknown_conversation" | "unknown_message" | "message_deleted" | "too_many_watches" | "internal";

export type ByeReason = "replaced" | "draining" | "silent" | "protocol" | "refused" | "logged_out";

export type Hello = { 
/**
 * What discovery gave; good once.
 */
ticket: string, 
/**
 * The client that the ticket was made for.
 */
client: ClientId, 
/**
 * Where this client's knowledge ends, from the last `synced` or `reset`.
 */
cursor?: string, };

export type Send = { 
/**
 * Names the intent; survives reloads, never reused for another text.
 */
ref: Ref, 
/**
 * Into which conversation.
 */
conversation: ConversationId, 
/**
 * The other member of a direct conversation; needed until it has a message.
 */
to?: UserId, 
/**
 * Milliseconds of the server's time; see [`Stamp`].
 */
at: number, 
/**
 * Count within the millisecond, 0 to 4095.
 */
n: number, 
/**
 * What was written.
 */
text: string, 
/**
 * The newest message that this client shows in the conversation.
 */
after?: MessageId, 
/**
 * The message that this one answers.
 */
reply_to?: MessageId, 
/**
 * Whether an earlier attempt may have been written.
 */
retry?: boolean, 
/**
 * W3C trace context of the client.
 */
traceparent?: string, };

export type Forget = { 
/**
 * Which send.
 */
ref: Ref, 
/**
 * In which conversation.
 */
conversation: ConversationId, };

export type Edit = { 
/**
 * Names the intent.
 */
ref: Ref, 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Which message.
 */
id: MessageId, 
/**
 * Milliseconds of the server's time.
 */
at: number, 
/**
 * Count within the millisecond.
 */
n: number, 
/**
 * The new text.
 */
text: string, 
/**
 * Whether an earlier attempt may have been written.
 */
retry?: boolean, };

export type Delete = { 
/**
 * Names the intent.
 */
ref: Ref, 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Which message.
 */
id: MessageId, };

export type Mark = { 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * The newest message *of the peer* that it is about.
 */
id: MessageId, };

export type Delivered = Mark;

export type Read = Mark;

export type Typing = { 
/**
 * In which conversation.
 */
conversation: ConversationId, };

export type Watch = { 
/**
 * Whose presence.
 */
user: UserId, };

export type Unwatch = Watch;

export type InboxQuery = { 
/**
 * Comes back with the answer.
 */
ref: Ref, 
/**
 * Only entries whose head is older than this one.
 */
before?: MessageId, 
/**
 * How many entries, at most 100; 50 when left out.
 */
limit?: number, };

export type HistoryQuery = { 
/**
 * Comes back with the answer.
 */
ref: Ref, 
/**
 * Which conversation.
 */
conversation: ConversationId, 
/**
 * Only messages older than this one.
 */
before?: MessageId, 
/**
 * How many messages, at most 100; 50 when left out.
 */
limit?: number, };

export type Sync = { 
/**
 * From where; the session's own position when left out.
 */
cursor?: string, };

export type Beat = Record<symbol, never>;

export type Welcome = { 
/**
 * Who is logged in.
 */
user: UserId, 
/**
 * Which node serves the session.
 */
node: NodeId, 
/**
 * Which store the cursors are of.
 */
store: StoreId, 
/**
 * The server's time in milliseconds.
 */
now: number, 
/**
 * Addresses of nodes to ask for discovery when this one is gone.
 */
addresses: Array<string>, 
/**
 * Bytes that a text may have.
 */
text_bytes: number, 
/**
 * Users that a session may watch.
 */
watches: number, };

export type Ack = { 
/**
 * Which intent.
 */
ref: Ref, 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * The message that was sent, edited or deleted.
 */
id: MessageId, };

export type Message = { 
/**
 * Names it and fixes its place.
 */
id: MessageId, 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Who wrote it.
 */
sender: UserId, 
/**
 * The other member of a direct conversation (oneself when alone).
 */
to: UserId, 
/**
 * The sender's name for it: his other devices settle their outbox by it.
 */
ref: Ref, 
/**
 * The newest text; empty when deleted.
 */
text: string, 
/**
 * The message that it answers.
 */
reply_to?: MessageId, 
/**
 * The edit whose text this is.
 */
edit?: EditId, 
/**
 * Whether it was deleted.
 */
deleted?: boolean, 
/**
 * In a push: the newest message that the sender's client showed. Who lacks it asks `sync`.
 */
after?: MessageId, };

export type Edited = { 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Which message.
 */
id: MessageId, 
/**
 * Which edit.
 */
edit: EditId, 
/**
 * The new text.
 */
text: string, };

export type Deleted = { 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Which message.
 */
id: MessageId, };

export type Receipt = { 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Who got or read: the peer (ticks), or oneself on another device (badge).
 */
user: UserId, 
/**
 * Up to which message a device of his got it.
 */
delivered_up_to?: MessageId, 
/**
 * Up to which message he read.
 */
read_up_to?: MessageId, };

export type Presence = { 
/**
 * Whose presence.
 */
user: UserId, 
/**
 * Whether a session of his is live.
 */
online: boolean, 
/**
 * When he was last seen, in milliseconds; absent when unknown or hidden.
 */
last_seen?: number, };

export type PeerTyping = { 
/**
 * In which conversation.
 */
conversation: ConversationId, 
/**
 * Who.
 */
user: UserId, };

export type Head = { 
/**
 * Which message.
 */
id: MessageId, 
/**
 * Who wrote it.
 */
sender: UserId, 
/**
 * The beginning of its text; empty when deleted.
 */
preview: string, 
/**
 * Whether it was deleted.
 */
deleted?: boolean, };

export type InboxEntry = { 
/**
 * Which conversation.
 */
conversation: ConversationId, 
/**
 * The other member (oneself when alone).
 */
peer: UserId, 
/**
 * Its newest message.
 */
head: Head, 
/**
 * Messages of the peer above `read_up_to` and not above `head`, up to 1,000. Those above it are
 * pushed or told by a later entry: counted here as well, a badge would show them twice.
 */
unread: number, 
/**
 * How far this user read.
 */
read_up_to?: MessageId, 
/**
 * How far a device of the peer got it.
 */
peer_delivered_up_to?: MessageId, 
/**
 * How far the peer read.
 */
peer_read_up_to?: MessageId, };

export type Inbox = { 
/**
 * Which question it answers.
 */
ref?: Ref, 
/**
 * Newest head first.
 */
entries: Array<InboxEntry>, 
/**
 * Whether older entries exist.
 */
more: boolean, };

export type History = { 
/**
 * Which question it answers.
 */
ref?: Ref, 
/**
 * Which conversation.
 */
conversation: ConversationId, 
/**
 * Newest first.
 */
messages: Array<Message>, 
/**
 * Whether older messages exist.
 */
more: boolean, };

export type Synced = { 
/**
 * To be stored in the transaction that stores what came before it.
 */
cursor: string, 
/**
 * Conversations of which only the newest page was sent: drop what was cached below it.
 */
cut?: Array<ConversationId>, };

export type Reset = { 
/**
 * To be stored with what is loaded after it.
 */
cursor: string, };

export type BeatReply = { 
/**
 * Milliseconds since 1970.
 */
now: number, 
/**
 * Whether nobody asked: the server says only that it lives, and reads nothing at present.
 */
unasked?: boolean, };

export type ErrorFrame = { 
/**
 * The stable name.
 */
code: ErrorCode, 
/**
 * For people, with the offending value.
 */
text: string, 
/**
 * Which intent it answers.
 */
ref?: Ref, 
/**
 * Whether sending again (perhaps with a new stamp) can help.
 */
retry: boolean, 
/**
 * How long to wait before that.
 */
retry_after_ms?: number, 
/**
 * With `clock`, `ahead` and `expired`: the server's time.
 */
now?: number, };

export type Bye = { 
/**
 * Why.
 */
reason: ByeReason, 
/**
 * How long to wait before connecting again; absent: do not.
 */
reconnect_after_ms?: number, };

export type ClientFrame = { "type": "hello" } & Hello | { "type": "send" } & Send | { "type": "forget" } & Forget | { "type": "edit" } & Edit | { "type": "delete" } & Delete | { "type": "delivered" } & Delivered | { "type": "read" } & Read | { "type": "typing" } & Typing | { "type": "watch" } & Watch | { "type": "unwatch" } & Unwatch | { "type": "inbox" } & InboxQuery | { "type": "history" } & HistoryQuery | { "type": "sync" } & Sync | { "type": "beat" } & Beat;

export type ServerFrame = { "type": "welcome" } & Welcome | { "type": "ack" } & Ack | { "type": "message" } & Message | { "type": "edited" } & Edited | { "type": "deleted" } & Deleted | { "type": "receipt" } & Receipt | { "type": "presence" } & Presence | { "type": "typing" } & PeerTyping | { "type": "inbox" } & Inbox | { "type": "history" } & History | { "type": "synced" } & Synced | { "type": "reset" } & Reset | { "type": "beat" } & BeatReply | { "type": "error" } & ErrorFrame | { "type": "bye" } & Bye;

export const SUBPROTOCOL = "rally.v1";
export const TEXT_BYTES = 65536;
export const FRAME_BYTES = 98304;
export const HISTORY_PAGE = 100;
export const INBOX_PAGE = 100;
export const UNREAD_CAP = 1000;
export const PREVIEW_CHARS = 100;
export const MAX_N = 4095;
export const STAMP_BEHIND_MS = 7500;
