/**
 * What was begun and not sent, by conversation: its text, and the message that it answers.
 *
 * Kept in the tab's session storage, so that it survives a reload; written a moment after the last
 * key. Without room there it lives as long as the page does.
 */

import type { ConversationId, MessageId, UserId } from '../../wire.ts';
import type { Storage } from './journal.ts';

const PREFIX = 'rally.draft.';

/** How long after a key the draft is written. */
const PAUSE_MS = 300;

/** Something that was begun. */
export interface Draft {
  readonly text: string;
  readonly replyTo?: MessageId;
}

const NOTHING: Draft = { text: '' };

/** The drafts of one user in one tab. */
export class Drafts {
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #changed = new Map<ConversationId, Draft>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Keeps the drafts of `user` in `storage`. */
  constructor(storage: Storage, user: UserId) {
    this.#storage = storage;
    this.#prefix = `${PREFIX}${user}/`;
  }

  /** Gives what was begun in a conversation. */
  get(conversation: ConversationId): Draft {
    const changed = this.#changed.get(conversation);
    if (changed !== undefined) return changed;
    const kept = this.#storage.getItem(this.#prefix + conversation);
    return kept === null ? NOTHING : (JSON.parse(kept) as Draft);
  }

  /** Changes what was begun in a conversation. */
  change(conversation: ConversationId, change: Partial<Draft>): void {
    this.#changed.set(conversation, { ...this.get(conversation), ...change });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.keep(), PAUSE_MS);
  }

  /** Writes what has changed now: the page may be about to go. */
  keep(): void {
    clearTimeout(this.#timer);
    for (const [conversation, draft] of this.#changed) {
      const key = this.#prefix + conversation;
      const isEmpty = draft.text === '' && draft.replyTo === undefined;
      try {
        if (isEmpty) this.#storage.removeItem(key);
        else this.#storage.setItem(key, JSON.stringify(draft));
        this.#changed.delete(conversation);
      } catch {
        // No room: it stays here.
      }
    }
  }

  /** Deletes all of the user's drafts in this tab. */
  forget(): void {
    clearTimeout(this.#timer);
    this.#changed.clear();
    const all = Array.from({ length: this.#storage.length }, (_, i) => this.#storage.key(i));
    for (const key of all) if (key?.startsWith(this.#prefix)) this.#storage.removeItem(key);
  }
}
