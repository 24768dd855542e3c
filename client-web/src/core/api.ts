/**
 * The HTTP side: accounts, finding people, and the way to a node.
 *
 * Every failure is a {@link Problem} with words for people. The log-in is a cookie that scripts
 * cannot read, and every node of a cluster takes it: when the page's own node is not reached,
 * another one is asked, and asked first from then on. Keeps nothing else.
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
  /** Further nodes that may be asked where to connect. */
  readonly discovery: readonly string[];
}

/** How long an answer may take, and how long while another node may do better. */
const ANSWER_MS = 15_000;
const NEXT_MS = 4_000;

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
  /** Its stable name. */
  readonly kind: string | undefined;
  /** Whether an attempt before this one was not answered, and may have been served. */
  isRepeated = false;

  /** Says what failed, in words for people. */
  constructor(status: number, message: string, retryAfterMs?: number, kind?: string) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
    this.kind = kind;
  }

  /** Whether the request may have been served all the same. */
  get isDoubtful(): boolean {
    return this.status === 0 || this.isRepeated;
  }

  /** Whether another node may do better: this one was not reached, or does not serve the address. */
  get elsewhere(): boolean {
    return this.status === 0 || this.kind === 'urn:rally:problem:role';
  }
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

async function problemOf(response: Response): Promise<Problem> {
  let words = `the server answered ${response.status}`;
  let kind: string | undefined;
  try {
    const body = (await response.json()) as {
      [key in 'type' | 'title' | 'detail']?: unknown;
    };
    if (typeof body.type === 'string') kind = body.type;
    if (typeof body.detail === 'string') words = body.detail;
    else if (typeof body.title === 'string') words = body.title;
  } catch {
    // Not a problem document: the status has to do.
  }
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  return new Problem(response.status, words, retryAfterMs, kind);
}

/** Speaks to whichever node answers. */
export class Api {
  readonly #fetch: Fetch;
  /** Whom to ask, by origin: the page's own node (''), then those that were named. */
  #bases: readonly string[] = [''];
  /** Who answered last. */
  #base = '';
  /** As whom to ask. */
  #user: UserId | undefined;
  #otherUser = () => {};
  /** Whose accounts may have been made by a request that nobody answered. */
  readonly #perhapsMade = new Set<UserId>();

  /** Sends requests by `fetch`. */
  constructor(fetch: Fetch = (url, init) => globalThis.fetch(url, init)) {
    this.#fetch = fetch;
  }

  /** Learns which further nodes may be asked. */
  know(addresses: readonly string[]): void {
    this.#bases = ['', ...addresses.filter((address) => address !== '')];
  }

  /**
   * Asks as `user` from now on. When another tab has logged somebody else in nothing of what is
   * asked is done, and `otherUser` hears of it.
   */
  actAs(user: UserId, otherUser: () => void): void {
    this.#user = user;
    this.#otherUser = otherUser;
  }

  /** Gives whom to ask in turn, the first `skipped` last. */
  #order(skipped: number): readonly string[] {
    const all = [this.#base, ...this.#bases.filter((base) => base !== this.#base)];
    const from = skipped % all.length;
    return [...all.slice(from), ...all.slice(0, from)];
  }

  /** Asks one after the other until one serves it: each request may be made twice. */
  async #ask<T>(method: string, path: string, body?: unknown, skipped = 0): Promise<T> {
    let unserved: Problem | undefined;
    const order = this.#order(skipped);
    for (const [nth, base] of order.entries()) {
      const patience = nth + 1 < order.length ? NEXT_MS : ANSWER_MS;
      try {
        const answer = await this.#askAt<T>(base, patience, method, path, body);
        this.#base = base;
        return answer;
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        error.isRepeated = unserved?.isDoubtful ?? false;
        if (!error.elsewhere) throw error;
        unserved = error;
      }
    }
    throw unserved;
  }

  async #askAt<T>(
    base: string,
    patience: number,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' };
    // A page of another site cannot set this without being asked first.
    if (method !== 'GET') headers['x-rally-csrf'] = '1';
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (this.#user !== undefined) headers['x-rally-user'] = this.#user;
    let response: Response;
    try {
      response = await this.#fetch(`${base}${path}`, {
        method,
        headers,
        credentials: base === '' ? 'same-origin' : 'include',
        signal: AbortSignal.timeout(patience),
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch {
      throw new Problem(0, 'The server cannot be reached. Check your connection.');
    }
    if (!response.ok) {
      const problem = await problemOf(response);
      if (problem.kind === 'urn:rally:problem:other-user') this.#otherUser();
      throw problem;
    }
    if (response.status === 204) return undefined as T;
    return (await response.json()) as T;
  }

  /** Tells whether the server offers demo users, and learns of further nodes. */
  async config(): Promise<Config> {
    const config = await this.#ask<Config>('GET', '/api/config');
    this.know(config.discovery);
    return config;
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
  async register(user: UserId, name: string, password: string): Promise<void> {
    try {
      const named = name !== '' && { name };
      await this.#ask('POST', '/api/register', { user, password, ...named });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.isDoubtful) this.#perhapsMade.add(user);
      if (error.status !== 409 || !this.#perhapsMade.has(user)) throw error;
      // The name may be taken by the attempt that nobody answered: then the password fits.
      await this.login(user, password).catch(() => {
        throw error;
      });
    }
  }

  /** Ends this log-in. */
  async logout(): Promise<void> {
    try {
      await this.#ask('POST', '/api/logout');
    } catch (error) {
      // It is over already: it was ended, maybe by an attempt without an answer, or it had expired.
      if (!(error instanceof Problem && error.status === 401)) throw error;
    }
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

  /** Asks where this client may open its socket: after `failures` in a row others first. */
  discover(client: ClientId, failures: number): Promise<Place> {
    return this.#ask('POST', '/api/discover', { client }, failures);
  }
}
