/**
 * Asks for pages: the inbox, newest and older messages, counts that went stale.
 *
 * Takes a page from this client's cache where its claim covers it, and asks the server
 * otherwise. An answer reaches the state as a frame; here it is only seen to that each question
 * is asked once, and again when the server could not answer.
 */

import type { ConversationId, ErrorFrame, Ref } from '../wire.ts';
import { timerMs } from './backoff.ts';
import { headId } from './conversation.ts';
import type { Host } from './host.ts';
import { ceilingOf, NONE, newUuid } from './ids.ts';
import type { Recorder } from './recorder.ts';
import type { Question } from './state.ts';

/** Messages and entries in one page from the server. */
const PAGE = 50;

/** How long to wait before asking again when the server did not say. */
const AGAIN_MS = 1000;

/** Loads what is shown. */
export class Loader {
  readonly #host: Host;
  readonly #recorder: Recorder;
  readonly #reading = new Set<ConversationId>();

  /** Reads the cache by `recorder`. */
  constructor(host: Host, recorder: Recorder) {
    this.#host = host;
    this.#recorder = recorder;
  }

  #ask(question: Question): void {
    const ref = newUuid();
    this.#host.dispatch({ type: 'asked', ref, question });
    const { before } = question;
    const page = {
      ref,
      limit: question.about === 'inbox' && question.only !== undefined ? 1 : PAGE,
      ...(before !== undefined && { before }),
    };
    const sent =
      question.about === 'inbox'
        ? this.#host.send({ type: 'inbox', ...page })
        : this.#host.send({ type: 'history', conversation: question.conversation, ...page });
    // Without a session nobody will answer; it is asked when there is one.
    if (!sent) this.#host.dispatch({ type: 'unanswered', ref });
  }

  #isAsked(matches: (question: Question) => boolean): boolean {
    return Object.values(this.#host.state().questions).some(matches);
  }

  /** Loads what the page needs and does not have: the inbox, and the open conversation. */
  fill(): void {
    const { inboxFrom, open } = this.#host.state();
    if (inboxFrom === undefined && !this.#isAsked(({ about }) => about === 'inbox')) {
      this.#ask({ about: 'inbox' });
    }
    if (open !== undefined) void this.window(open);
  }

  /** Loads the newest page of a conversation that has none. */
  async window(conversation: ConversationId): Promise<void> {
    await this.#page(conversation, () =>
      this.#held(conversation)?.from === undefined ? {} : undefined,
    );
  }

  /** Loads the page below a conversation's window. */
  async older(conversation: ConversationId): Promise<void> {
    await this.#page(conversation, () => {
      const from = this.#held(conversation)?.from;
      return from === undefined || from === NONE ? undefined : { before: from };
    });
  }

  #held(conversation: ConversationId) {
    return this.#host.state().conversations[conversation];
  }

  /** Loads the page that `wanted` names, from the cache or the server; nothing if it names none. */
  async #page(
    conversation: ConversationId,
    wanted: () => { readonly before?: string } | undefined,
  ): Promise<void> {
    const asked = (question: Question) =>
      question.about === 'history' && question.conversation === conversation;
    const page = wanted();
    if (page === undefined || this.#reading.has(conversation) || this.#isAsked(asked)) return;
    this.#reading.add(conversation);
    try {
      const cached = await this.#recorder.page(conversation, page.before);
      // A reset or a push may have changed what is wanted while the cache was read.
      if (wanted()?.before !== page.before || wanted() === undefined) return;
      if (cached !== undefined && (cached.messages.length > 0 || cached.from === NONE)) {
        this.#host.dispatch({ type: 'cached', conversation, ...cached, ...page });
      } else if (!this.#isAsked(asked)) {
        this.#ask({ about: 'history', conversation, ...page });
      }
    } finally {
      this.#reading.delete(conversation);
    }
  }

  /** Loads older inbox entries. */
  moreInbox(): void {
    const { inboxFrom } = this.#host.state();
    if (inboxFrom === undefined || inboxFrom === NONE) return;
    if (this.#isAsked(({ about }) => about === 'inbox')) return;
    this.#ask({ about: 'inbox', before: inboxFrom });
  }

  /** Asks for counts and marks that are not known, or that other marks and messages overtook. */
  recount(): void {
    const { conversations, status, inboxFrom } = this.#host.state();
    // The first page of the inbox may have them.
    if (status.phase !== 'live' || inboxFrom === undefined) return;
    for (const conversation of Object.values(conversations)) {
      const { id, recount } = conversation;
      if (!recount) continue;
      if (this.#isAsked((asked) => asked.about === 'inbox' && asked.only === id)) continue;
      this.#ask({ about: 'inbox', only: id, before: ceilingOf(headId(conversation)) });
    }
  }

  /** Takes an error that answers a question; false when `ref` is none. */
  refused(ref: Ref, error: ErrorFrame): boolean {
    const question = this.#host.state().questions[ref];
    if (question === undefined) return false;
    this.#host.dispatch({ type: 'unanswered', ref });
    if (question.about === 'history' && error.code === 'unknown_conversation') {
      // Nobody has written in it yet.
      const { conversation } = question;
      this.#host.dispatch({ type: 'cached', conversation, messages: [], from: NONE });
    } else if (error.retry) {
      setTimeout(() => this.#ask(question), timerMs(error.retry_after_ms ?? AGAIN_MS));
    }
    return true;
  }
}
