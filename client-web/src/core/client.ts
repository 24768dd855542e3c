/**
 * One client: a tab of a logged-in user, put together from its parts.
 *
 * Holds the state, hands every frame to the reducer, the recorder and whoever acts on it, and
 * offers what a user can do. Free of pages: they read the state and call these methods.
 */

import type {
  Ack,
  ClientFrame,
  ClientId,
  ConversationId,
  ErrorFrame,
  MessageId,
  Ref,
  ServerFrame,
  UserId,
} from '../wire.ts';
import type { Api } from './api.ts';
import { ServerClock } from './clock.ts';
import { Company } from './company.ts';
import { Connection, type Socket } from './connection.ts';
import type { Host } from './host.ts';
import { Intents } from './intents.ts';
import { Loader } from './loader.ts';
import { type Attention, Marker } from './marks.ts';
import { Pulse } from './pulse.ts';
import { Recorder } from './recorder.ts';
import { type Action, reduce } from './reducer.ts';
import { initialState, type State, type Status } from './state.ts';
import type { Cache } from './store/cache.ts';
import type { Outbox } from './store/outbox.ts';
import type { Liveness } from './tabs.ts';
import { find, newest } from './thread.ts';

/** How often a visible tab asks for the server's time, and every tab looks after what was left. */
const BEAT_MS = 20_000;

/** What a client is made with. */
export interface Parts {
  readonly user: UserId;
  readonly client: ClientId;
  readonly api: Pick<Api, 'discover' | 'know'>;
  readonly open: (address: string, protocol: string) => Socket;
  /** Nothing where the browser offers no database: messages are loaded anew after a reload. */
  readonly cache: Cache | undefined;
  readonly outbox: Outbox;
  readonly liveness: Liveness;
  /** Tells the user something in words. */
  readonly notice: (text: string) => void;
  /** Tells that somebody else is logged in now. */
  readonly otherUser: () => void;
}

/** A tab of a logged-in user. */
export class Client {
  readonly #parts: Parts;
  readonly #clock = new ServerClock();
  readonly #connection: Connection;
  readonly #intents: Intents;
  readonly #recorder: Recorder;
  readonly #loader: Loader;
  readonly #marker: Marker;
  readonly #company: Company;
  readonly #pulse: Pulse;
  readonly #listeners = new Set<() => void>();
  #state: State;
  #visible = true;
  #atBottom = true;
  #beat: ReturnType<typeof setInterval> | undefined;

  /** Puts the parts together; {@link start} sets them going. */
  constructor(parts: Parts) {
    this.#parts = parts;
    this.#state = initialState(parts.user);
    const host: Host = {
      state: () => this.#state,
      dispatch: (action) => this.#dispatch(action),
      send: (frame) => this.#send(frame),
    };
    const { user, client, outbox, liveness } = parts;
    this.#recorder = new Recorder(parts.cache, user, client, {
      trouble: () =>
        parts.notice('This browser cannot store messages: they are loaded anew each time.'),
      // Without a cursor the next session begins with a reset.
      emptied: () => this.#connection.renew(),
    });
    const kept = {
      ...{ user, client, outbox, liveness },
      makeRoom: () => this.#recorder.makeRoom(),
      trouble: () =>
        parts.notice('This browser cannot store what you send: keep the page open until it is.'),
    };
    this.#intents = new Intents(kept, host, this.#clock);
    this.#loader = new Loader(host, this.#recorder);
    this.#marker = new Marker(host);
    this.#company = new Company(host);
    const pulse = {
      send: host.send,
      waitingMs: (from: number) => this.#intents.sender.waitingMs(from),
      renew: () => this.#connection.renew(),
    };
    this.#pulse = new Pulse(pulse, this.#clock);
    this.#connection = new Connection({
      client: parts.client,
      cursor: () => this.#recorder.cursor(),
      discover: (client, failures) => parts.api.discover(client, failures),
      open: parts.open,
      status: (status) => this.#onStatus(status),
      frame: (frame) => this.#onFrame(frame),
      strange: () => {},
    });
  }

  /** Gives the state; a new object whenever something changed. */
  readonly state = (): State => this.#state;

  /** Calls `listener` after every change, until the function that it gives is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Shows what is stored, then connects. */
  async start(): Promise<void> {
    const restored = await this.#recorder.restore();
    if (restored !== undefined) {
      const { entries, from } = restored;
      this.#dispatch({ type: 'restored', ...entries, from });
    }
    await this.#intents.restore();
    await this.#intents.adopt();
    this.#loader.fill();
    this.#beat = setInterval(() => this.#tick(), BEAT_MS);
    this.#connection.start();
  }

  #end(): void {
    clearInterval(this.#beat);
    this.#pulse.stop();
    this.#marker.stop();
    this.#company.stop();
    this.#intents.sender.disconnected();
    this.#connection.stop();
  }

  /** Ends the session; what waits stays in the outbox. */
  async stop(): Promise<void> {
    this.#end();
    await this.#recorder.flush();
  }

  /** Ends the session, and writes nothing more of what was told. */
  abandon(): void {
    this.#end();
    this.#recorder.abandon();
  }

  /** Ends the session, and deletes what the user's tabs were told; the outbox stays. */
  async forget(): Promise<void> {
    this.#end();
    await this.#recorder.forget();
  }

  /** Writes to the socket; false when no session is open. */
  #send(frame: ClientFrame): boolean {
    return this.#connection.send(frame);
  }

  #dispatch(action: Action): void {
    const before = this.#state;
    const after = reduce(before, action);
    if (after === before) return;
    this.#state = after;
    for (const listener of this.#listeners) listener();
    if (after.intents !== before.intents) this.#intents.settled(before, after);
    if (after.holes !== before.holes) this.#askForHoles();
    if (after.conversations !== before.conversations || after.open !== before.open) {
      this.#marker.consider();
      this.#company.update();
      this.#loader.recount();
    }
  }

  /** Asks for a catch-up, once for each id that is missing. */
  #askForHoles(): void {
    for (const after of Object.values(this.#state.holes)) {
      if (this.#state.asked.has(after)) continue;
      this.#dispatch({ type: 'sync_asked', after });
      this.#send({ type: 'sync' });
    }
  }

  #onStatus(status: Status): void {
    const before = this.#state.status.phase;
    this.#dispatch({ type: 'status', status });
    this.#pulse.turn(status);
    if (status.phase === 'ended') {
      // What this tab still means to send another one can.
      this.#parts.liveness.leave(this.#parts.client);
      // Somebody else may come to this machine next.
      if (status.why === 'logged_out') this.#recorder.forgetLogIn().catch(() => {});
    }
    if (status.phase === 'live' || status.phase === 'catching_up') return;
    if (before !== 'live' && before !== 'catching_up') return;
    this.#intents.sender.disconnected();
    this.#marker.disconnected();
    this.#company.disconnected();
  }

  #onFrame(frame: ServerFrame): void {
    if (frame.type === 'welcome' && frame.user !== this.#parts.user) {
      // Another tab logged in as somebody else: nothing of his belongs in here.
      void this.stop();
      this.#parts.otherUser();
      return;
    }
    this.#pulse.heard(frame);
    if (frame.type === 'welcome') this.#parts.api.know(frame.addresses);
    const ref = frame.type === 'inbox' || frame.type === 'history' ? frame.ref : undefined;
    const question = ref === undefined ? undefined : this.#state.questions[ref];
    this.#dispatch({ type: 'frame', frame, at: Date.now() });
    this.#recorder.hear(frame, question, this.#state);
    this.#act(frame);
  }

  /** Does what a frame asks for beyond a new state. */
  #act(frame: ServerFrame): void {
    switch (frame.type) {
      case 'welcome':
        this.#intents.sender.connected();
        return;
      case 'ack':
        this.#intents.sender.answered(frame.ref);
        this.#keepAcked(frame);
        return;
      case 'synced':
      case 'reset':
        this.#loader.fill();
        this.#loader.recount();
        this.#company.update();
        this.#marker.consider();
        return;
      case 'typing':
        this.#company.peerWrites();
        return;
      case 'error':
        void this.#onError(frame);
        return;
      default:
        return;
    }
  }

  /** Stores what an ack made of an intent. */
  #keepAcked({ conversation, id }: Ack): void {
    const message = find(this.#state.conversations[conversation]?.thread ?? [], id);
    if (message !== undefined) this.#recorder.message(message);
  }

  async #onError(error: ErrorFrame): Promise<void> {
    const { ref } = error;
    if (ref === undefined) {
      // Watches are told again when they are due; what ends a session says `bye`.
      if (error.code === 'busy') this.#marker.refused(error.retry_after_ms);
      if (error.code === 'too_many_sessions') this.#parts.notice(error.text);
      return;
    }
    if (this.#loader.refused(ref, error)) return;
    await this.#intents.refused(ref, error);
  }

  #tick(): void {
    const { phase } = this.#state.status;
    // Who sends nothing any more takes nothing from those who do.
    if (phase !== 'ended') void this.#intents.adopt();
    if (phase === 'live') {
      this.#recorder.dropDead(this.#parts.liveness).catch(() => {});
    }
    this.#pulse.tick(this.#visible);
    // In a tab that stays open for days threads would only grow.
    this.#dispatch({ type: 'cut', but: this.#atBottom ? undefined : this.#state.open });
  }

  /** Learns whether somebody is looking. */
  attend(attention: Attention): void {
    const appeared = attention.visible && !this.#visible;
    this.#visible = attention.visible;
    this.#atBottom = attention.atBottom;
    this.#marker.attend(attention);
    if (appeared) this.wake();
  }

  /** The network or the user is back: connects at once, or sees whether the session still lives. */
  wake(): void {
    this.#connection.nudge();
    this.#pulse.ask();
  }

  /** Opens a conversation with `peer`. */
  open(conversation: ConversationId, peer: UserId): void {
    this.#dispatch({ type: 'opened', conversation, peer });
    void this.#loader.window(conversation);
  }

  /** Leaves the open conversation. */
  close(): void {
    this.#dispatch({ type: 'closed' });
  }

  /** Sends a text in a conversation. */
  say(conversation: ConversationId, text: string, replyTo?: MessageId): Promise<void> {
    const held = this.#state.conversations[conversation];
    if (held === undefined) return Promise.resolve();
    this.#company.wrote();
    const after = newest(held.thread)?.id;
    return this.#intents.mean(conversation, {
      kind: 'send',
      to: held.peer,
      text,
      ...(after !== undefined && { after }),
      ...(replyTo !== undefined && { replyTo }),
    });
  }

  /** Replaces the text of one's own message. */
  edit(conversation: ConversationId, target: MessageId, text: string): Promise<void> {
    return this.#intents.mean(conversation, { kind: 'edit', target, text });
  }

  /** Deletes one's own message for everybody. */
  remove(conversation: ConversationId, target: MessageId): Promise<void> {
    return this.#intents.mean(conversation, { kind: 'delete', target });
  }

  /** Gives up what the server refused. */
  dismiss(ref: Ref): void {
    this.#intents.dismiss(ref);
  }

  /** Means again what the server refused, as something new. */
  again(ref: Ref): Promise<void> {
    return this.#intents.again(ref);
  }

  /** Learns whose lines of the inbox are on the screen: their presence is watched. */
  look(users: readonly UserId[]): void {
    this.#company.look(users);
  }

  /** The user is writing in the open conversation. */
  writing(): void {
    this.#company.writing();
  }

  /** Loads older messages of a conversation. */
  older(conversation: ConversationId): void {
    void this.#loader.older(conversation);
  }

  /** Loads older inbox entries. */
  moreInbox(): void {
    this.#loader.moreInbox();
  }

  /** Writes what was heard to the cache now: the page may be about to go. */
  keep(): void {
    void this.#recorder.flush();
  }
}
