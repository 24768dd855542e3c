/**
 * One session with the server, made again whenever it is lost.
 *
 * Asks discovery, opens the socket, says `hello`, and tells its host what comes. Waits between
 * attempts with full jitter, or as long as the server's `bye` says; does not come back when it
 * was taken over or logged out. Knows nothing of what frames mean beyond these.
 */

import type { Bye, ClientFrame, ClientId, ServerFrame } from '../wire.ts';
import { SUBPROTOCOL } from '../wire.ts';
import { type Place, Problem } from './api.ts';
import { backoffMs, timerMs } from './backoff.ts';
import { decode, encode, exhausted } from './codec.ts';
import type { Ending, Status } from './state.ts';

/** How long opening a socket and being welcomed may take. */
const WELCOME_MS = 15_000;

/** The part of a WebSocket that is used here. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** What a connection needs. */
export interface ConnectionHost {
  readonly client: ClientId;
  /** Where this client's knowledge ends. */
  cursor(): string | undefined;
  /** Asks for a place; after `failures` in a row, somebody else. */
  discover(client: ClientId, failures: number): Promise<Place>;
  open(address: string, protocol: string): Socket;
  /** Tells how the connection stands. */
  status(status: Status): void;
  /** Hands on a frame; the status has changed already when the frame changes it. */
  frame(frame: ServerFrame): void;
  /** Tells that a text of the server's was not understood. */
  strange(problem: string): void;
}

/** Keeps a session open. */
export class Connection {
  readonly #host: ConnectionHost;
  #socket: Socket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #running = false;
  #welcomed = false;
  /** Counts attempts: what an earlier one still tells is not heard. */
  #attempt = 0;
  #waiting = false;

  /** Reports to `host`. */
  constructor(host: ConnectionHost) {
    this.#host = host;
  }

  /** Connects, and stays connected until {@link stop}. */
  start(): void {
    this.#running = true;
    this.#failures = 0;
    this.#connect();
  }

  /** Ends the session for good. */
  stop(): void {
    this.#running = false;
    this.#drop();
  }

  /** Writes a frame; false when no session is open. */
  send(frame: ClientFrame): boolean {
    if (!this.#welcomed || this.#socket === undefined) return false;
    this.#socket.send(encode(frame));
    return true;
  }

  /** Tries at once instead of waiting on: the network is back, or the user is. */
  nudge(): void {
    if (this.#running && this.#waiting) this.#connect();
  }

  /** Gives a session up that has gone silent, and makes another. */
  renew(): void {
    if (this.#running && this.#socket !== undefined) this.#lost();
  }

  #drop(): void {
    this.#attempt += 1;
    this.#waiting = false;
    this.#welcomed = false;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  async #connect(): Promise<void> {
    this.#drop();
    const attempt = this.#attempt;
    this.#host.status({ phase: 'connecting' });
    let place: Place;
    try {
      place = await this.#host.discover(this.#host.client, this.#failures);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (error instanceof Problem && error.status === 401) this.#end('logged_out');
      else this.#lost(error instanceof Problem ? this.#after(error.retryAfterMs) : undefined);
      return;
    }
    if (attempt === this.#attempt) this.#open(place);
  }

  /** Everybody who is refused is told the same wait: not all of them come back at its end. */
  #after(askedMs: number | undefined): number | undefined {
    return askedMs === undefined ? undefined : askedMs + backoffMs(this.#failures);
  }

  #open({ address, ticket }: Place): void {
    let socket: Socket;
    try {
      socket = this.#host.open(address, SUBPROTOCOL);
    } catch {
      this.#lost();
      return;
    }
    this.#socket = socket;
    // Handlers stand before anything can arrive.
    socket.onopen = () => {
      const cursor = this.#host.cursor();
      const hello = { type: 'hello', ticket, client: this.#host.client } as const;
      socket.send(encode(cursor === undefined ? hello : { ...hello, cursor }));
    };
    socket.onmessage = ({ data }) => this.#heard(data);
    socket.onclose = () => this.#lost();
    this.#timer = setTimeout(() => this.#lost(), WELCOME_MS);
  }

  #heard(data: unknown): void {
    const decoded = typeof data === 'string' ? decode(data) : undefined;
    if (decoded === undefined || !decoded.ok) {
      this.#host.strange(decoded?.problem ?? 'a binary message');
      return;
    }
    const { frame } = decoded;
    if (frame.type === 'welcome') {
      clearTimeout(this.#timer);
      this.#welcomed = true;
      this.#host.status({ phase: 'catching_up' });
    } else if (frame.type === 'synced' || frame.type === 'reset') {
      this.#failures = 0;
      this.#host.status({ phase: 'live' });
    }
    this.#host.frame(frame);
    if (frame.type === 'bye') this.#left(frame);
  }

  #left({ reason, reconnect_after_ms: after }: Bye): void {
    switch (reason) {
      case 'replaced':
      case 'logged_out':
      case 'protocol':
        if (after === undefined) this.#end(reason);
        else this.#lost(after);
        return;
      case 'draining':
      case 'silent':
      case 'refused':
        this.#lost(after);
        return;
      default:
        exhausted(reason);
        this.#lost(after);
    }
  }

  #end(why: Ending): void {
    this.#running = false;
    this.#drop();
    this.#host.status({ phase: 'ended', why });
  }

  /** Waits as long as the server asked, or by the number of failures, and tries again. */
  #lost(askedMs?: number): void {
    this.#drop();
    if (!this.#running) return;
    const wait = timerMs(askedMs ?? backoffMs(this.#failures));
    this.#failures += 1;
    this.#waiting = true;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#host.status({ phase: 'waiting', until: Date.now() + wait });
  }
}
