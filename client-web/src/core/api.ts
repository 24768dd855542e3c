/**
 * The HTTP side: accounts, finding people, and the way to a node.
 *
 * Every failure is a {@link Problem} with words for people. Keeps nothing; the session is a
 * cookie that scripts cannot read.
 */

import type { ClientId, ConversationId, NodeId, UserId } from '../wire.ts';

/** What a server says about itself before anybody is logged in. */
export interface Config {
  readonly demo: {
    readonly users: readonly { readonly user: UserId; readonly name: string }[];
    readonly password: string;
  } | null;
  /** Whether anybody may make an account. */
  readonly registration: boolean;
  readonly version: string;
}

/** Who is logged in. */
export interface Me {
  readonly user: UserId;
  readonly name: string;
  readonly hide_presence: boolean;
}

/** Somebody to talk to, and the conversation with him. */
export interface Person {
  readonly user: UserId;
  readonly name: string;
  readonly conversation: ConversationId;
}

/** Where to open a socket, and the right to do so once. */
export interface Place {
  readonly address: string;
  readonly node: NodeId;
  readonly ticket: string;
}

/** A request that failed; `status` is 0 when the server was not reached. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly status: number;
  /** How long the server asks to wait. */
  readonly retryAfterMs: number | undefined;

  /** Says what failed, in words for people. */
  constructor(status: number, message: string, retryAfterMs?: number) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

async function problemOf(response: Response): Promise<Problem> {
  let words = `the server answered ${response.status}`;
  try {
    const body = (await response.json()) as { title?: unknown; detail?: unknown };
    if (typeof body.detail === 'string') words = body.detail;
    else if (typeof body.title === 'string') words = body.title;
  } catch {
    // Not a problem document: the status has to do.
  }
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  return new Problem(response.status, words, Number.isFinite(seconds) ? seconds * 1000 : undefined);
}

/** Speaks to one server. */
export class Api {
  readonly #fetch: Fetch;

  /** Sends requests by `fetch`. */
  constructor(fetch: Fetch = (url, init) => globalThis.fetch(url, init)) {
    this.#fetch = fetch;
  }

  async #ask<T>(method: string, path: string, body?: unknown, base = ''): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' };
    // A page of another site cannot set this without being asked first.
    if (method !== 'GET') headers['x-rally-csrf'] = '1';
    if (body !== undefined) headers['content-type'] = 'application/json';
    let response: Response;
    try {
      response = await this.#fetch(`${base}${path}`, {
        method,
        headers,
        credentials: base === '' ? 'same-origin' : 'include',
        signal: AbortSignal.timeout(15_000),
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch {
      throw new Problem(0, 'The server cannot be reached. Check your connection.');
    }
    if (!response.ok) throw await problemOf(response);
    if (response.status === 204) return undefined as T;
    return (await response.json()) as T;
  }

  /** Tells whether the server offers demo users. */
  config(): Promise<Config> {
    return this.#ask('GET', '/api/config');
  }

  /** Tells who is logged in; a problem of status 401 when nobody is. */
  me(): Promise<Me> {
    return this.#ask('GET', '/api/me');
  }

  /** Logs in. */
  login(user: UserId, password: string): Promise<void> {
    return this.#ask('POST', '/api/login', { user, password });
  }

  /** Makes an account and logs in. */
  register(user: UserId, name: string, password: string): Promise<void> {
    return this.#ask('POST', '/api/register', { user, password, ...(name !== '' && { name }) });
  }

  /** Ends this log-in. */
  logout(): Promise<void> {
    return this.#ask('POST', '/api/logout');
  }

  /** Ends every log-in of the user's, on every device. */
  logoutEverywhere(): Promise<void> {
    return this.#ask('POST', '/api/logout-everywhere');
  }

  /** Changes the user's settings. */
  change(settings: Partial<Pick<Me, 'name' | 'hide_presence'>>): Promise<Me> {
    return this.#ask('PATCH', '/api/me', settings);
  }

  /** Finds people by the beginning of their user name. */
  async find(prefix: string, limit = 20): Promise<readonly Person[]> {
    const query = new URLSearchParams({ prefix, limit: String(limit) });
    const { users } = await this.#ask<{ users: Person[] }>('GET', `/api/users?${query}`);
    return users;
  }

  /** Looks one person up. */
  person(user: UserId): Promise<Person> {
    return this.#ask('GET', `/api/users/${encodeURIComponent(user)}`);
  }

  /** Lists whom the user has blocked. */
  async blocks(): Promise<readonly UserId[]> {
    const { users } = await this.#ask<{ users: UserId[] }>('GET', '/api/blocks');
    return users;
  }

  /** Blocks somebody, or unblocks him. */
  block(user: UserId, blocked: boolean): Promise<void> {
    return this.#ask(blocked ? 'PUT' : 'DELETE', `/api/blocks/${encodeURIComponent(user)}`);
  }

  /** Asks the node at `base` (or the page's own) where this client may open its socket. */
  discover(client: ClientId, base = ''): Promise<Place> {
    return this.#ask('POST', '/api/discover', { client }, base);
  }
}
