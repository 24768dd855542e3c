/** Short messages to the user that go away by themselves or when he has read them. */

import { useSyncExternalStore } from 'react';

/** For how long a notice stays. */
const SHOWN_MS = 10_000;

/** One notice; `key` tells two of the same text apart. */
export interface Notice {
  readonly key: number;
  readonly text: string;
}

/** The notices that are shown. */
export class Notices {
  #shown: readonly Notice[] = [];
  #count = 0;
  readonly #listeners = new Set<() => void>();

  /** Shows a text, once at a time. */
  readonly tell = (text: string): void => {
    if (this.#shown.some((notice) => notice.text === text)) return;
    this.#count += 1;
    const notice = { key: this.#count, text };
    this.#set([...this.#shown, notice]);
    setTimeout(() => this.dismiss(notice.key), SHOWN_MS);
  };

  /** Shows why something failed. */
  readonly failed = (error: unknown): void => {
    this.tell(error instanceof Error ? error.message : String(error));
  };

  /** Takes a notice away. */
  dismiss(key: number): void {
    this.#set(this.#shown.filter((notice) => notice.key !== key));
  }

  /** Gives what is shown. */
  readonly shown = (): readonly Notice[] => this.#shown;

  /** Calls `listener` after every change, until the function that it gives is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #set(shown: readonly Notice[]): void {
    this.#shown = shown;
    for (const listener of this.#listeners) listener();
  }
}

/** Gives the notices, again whenever they change. */
export function useNotices(notices: Notices): readonly Notice[] {
  return useSyncExternalStore(notices.subscribe, notices.shown);
}
