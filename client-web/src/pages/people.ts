/**
 * The names of the people on the screen. Frames name users by id only; their display names are
 * asked for once, one after the other, and until then the id stands in.
 */

import { useEffect, useSyncExternalStore } from 'react';
import type { Api, Person } from '../core/api.ts';
import type { UserId } from '../wire.ts';
import { useShared } from './shared.ts';

/** Who is known by name. */
export class People {
  readonly #api: Pick<Api, 'person'>;
  #known: ReadonlyMap<UserId, string> = new Map();
  readonly #asked = new Set<UserId>();
  readonly #listeners = new Set<() => void>();
  #work: Promise<void> = Promise.resolve();

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
    this.#work = this.#work.then(async () => {
      try {
        this.meet([await this.#api.person(user)]);
      } catch {
        // His id stands in; who comes into view again is asked for again.
        this.#asked.delete(user);
      }
    });
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
