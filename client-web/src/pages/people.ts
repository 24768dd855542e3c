/**
 * The names of the people on the screen. Frames name users by id only; their display names are
 * asked for, one after the other, until they are told, and until then the id stands in.
 */

import { useEffect, useSyncExternalStore } from 'react';
import type { Api, Person } from '../core/api.ts';
import { againAfterMs } from '../core/backoff.ts';
import type { UserId } from '../wire.ts';
import { useShared } from './shared.ts';

/** Who is known by name. */
export class People {
  readonly #api: Pick<Api, 'person'>;
  #known: ReadonlyMap<UserId, string> = new Map();
  readonly #asked = new Set<UserId>();
  readonly #listeners = new Set<() => void>();
  #queue: readonly UserId[] = [];
  #isAsking = false;
  /** Failures in a row: they are the server's, not somebody's. */
  #failures = 0;

  /** Asks `api`. */
  constructor(api: Pick<Api, 'person'>) {
    this.#api = api;
  }

  /** Takes note of people who were found. */
  meet(people: readonly Pick<Person, 'user' | 'name'>[]): void {
    if (people.every(({ user, name }) => this.#known.get(user) === name)) return;
    this.#known = new Map([
      ...this.#known,
      ...people.map(({ user, name }): [UserId, string] => [user, name]),
    ]);
    for (const listener of this.#listeners) listener();
  }

  /** Sees to it that somebody's name gets known. */
  ask(user: UserId): void {
    if (this.#known.has(user) || this.#asked.has(user)) return;
    this.#asked.add(user);
    this.#queue = [...this.#queue, user];
    if (!this.#isAsking) void this.#askNext();
  }

  async #askNext(): Promise<void> {
    const [user, ...rest] = this.#queue;
    this.#isAsking = user !== undefined;
    if (user === undefined) return;
    this.#queue = rest;
    let wait: number | undefined;
    try {
      // He may have been met while he waited.
      if (!this.#known.has(user)) this.meet([await this.#api.person(user)]);
      this.#failures = 0;
    } catch (error) {
      wait = againAfterMs(error, this.#failures);
      this.#failures = wait === undefined ? 0 : this.#failures + 1;
      // Behind the others, whom the server may know how to answer.
      if (wait !== undefined) this.#queue = [...this.#queue, user];
    }
    if (wait === undefined) void this.#askNext();
    else setTimeout(() => void this.#askNext(), wait);
  }

  /** Gives the names that are known. */
  readonly known = (): ReadonlyMap<UserId, string> => this.#known;

  /** Calls `listener` after every change, until the function that it gives is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

/** Gives all names that are known. */
export function useNames(): ReadonlyMap<UserId, string> {
  const { people } = useShared();
  return useSyncExternalStore(people.subscribe, people.known);
}

/** Gives somebody's name, or his id until it is known. */
export function useName(user: UserId): string {
  const { people } = useShared();
  useEffect(() => people.ask(user), [people, user]);
  return useNames().get(user) ?? user;
}
