/**
 * Everything the user means to do passes here: it is stamped, kept, shown, and given to the
 * sender; what tabs left behind that are gone is adopted.
 *
 * What is shown survives a reload, because it is kept first. Knows nothing of sockets.
 */

import type { ClientId, ConversationId, ErrorFrame, MessageId, Ref, UserId } from '../wire.ts';
import type { ServerClock } from './clock.ts';
import { headId } from './conversation.ts';
import type { Host } from './host.ts';
import { compareStamps, newUuid, type Stamp, stampOf } from './ids.ts';
import type { DeleteIntent, EditIntent, Intent, SendIntent } from './intent.ts';
import { Sender } from './sender.ts';
import type { State } from './state.ts';
import { isFull } from './store/idb.ts';
import type { Outbox } from './store/outbox.ts';
import type { Liveness } from './tabs.ts';
import { wellFormed } from './text.ts';
import { newest } from './thread.ts';

type Given = 'ref' | 'user' | 'client' | 'conversation' | 'order' | 'at' | 'n' | 'attempted';

/** What is meant, without what every intent is given here. */
export type Meant = Omit<SendIntent, Given> | Omit<EditIntent, Given> | Omit<DeleteIntent, Given>;

/** What intents are kept with. */
export interface IntentParts {
  readonly user: UserId;
  readonly client: ClientId;
  readonly outbox: Outbox;
  readonly liveness: Liveness;
  /** Has what may be loaded anew give way to the outbox; false when there is nothing to gain. */
  readonly makeRoom: () => Promise<boolean>;
  /** Hears that the outbox could not be written. */
  readonly trouble: () => void;
}

/** The intents of one client, from meant to confirmed. */
export class Intents {
  readonly sender: Sender;
  readonly #parts: IntentParts;
  readonly #host: Host;
  readonly #clock: ServerClock;
  #order = 0;

  /** Shows intents by `host`, stamps them by `clock`. */
  constructor(parts: IntentParts, host: Host, clock: ServerClock) {
    this.#parts = parts;
    this.#host = host;
    this.#clock = clock;
    this.sender = new Sender(
      {
        intents: () => host.state().intents,
        change: (intents) => this.#change(intents),
        floor: (conversation) => this.#floor(conversation),
        send: (frame) => host.send(frame),
      },
      clock,
    );
  }

  /** Shows what this client left before a reload. */
  async restore(): Promise<void> {
    const { outbox, user, client } = this.#parts;
    try {
      const left = await outbox.of(user, client);
      this.#host.dispatch({ type: 'intents', intents: left });
    } catch {
      this.#parts.trouble();
    }
    this.#order = Math.max(0, ...this.#host.state().intents.map((intent) => intent.order));
  }

  /** Takes over what tabs left behind that are gone. */
  async adopt(): Promise<void> {
    const { outbox, user, client, liveness } = this.#parts;
    try {
      for (const owner of await outbox.owners(user)) {
        if (owner === client) continue;
        await liveness.ifDead(owner, async () => {
          const left = await outbox.adopt(user, owner, client, this.#order + 1);
          this.#order += left.length;
          this.#host.dispatch({ type: 'intents', intents: left });
          for (const { conversation } of left) this.sender.flush(conversation);
        });
      }
    } catch {
      // The next round, or the next tab, tries again.
    }
  }

  /** Takes note of what the reducer settled. */
  settled(before: State, after: State): void {
    const waiting = new Set(after.intents.map((intent) => intent.ref));
    const gone = before.intents.filter((intent) => !waiting.has(intent.ref));
    if (gone.length === 0) return;
    const refs = gone.map((intent) => intent.ref);
    this.#parts.outbox.remove(this.#parts.user, refs).catch(() => this.#parts.trouble());
    for (const { conversation, ref } of gone) this.sender.confirmed(conversation, ref);
  }

  /** Keeps an intent, shows it, and sends it when it can be. */
  async mean(conversation: ConversationId, what: Meant): Promise<void> {
    this.#order += 1;
    const { user, client } = this.#parts;
    const { at, n } = this.#clock.stamp(this.#floor(conversation).stamp);
    const given = { ref: newUuid(), user, client, conversation, order: this.#order, at, n };
    const written = what.kind === 'delete' ? what : { ...what, text: wellFormed(what.text) };
    const intent: Intent = { ...written, ...given, attempted: false };
    await this.#keep([intent]);
    this.#host.dispatch({ type: 'intents', intents: [intent] });
    this.sender.flush(conversation);
  }

  #find(ref: Ref): Intent | undefined {
    return this.#host.state().intents.find((intent) => intent.ref === ref);
  }

  /** The server refused what `ref` names. */
  async refused(ref: Ref, error: ErrorFrame): Promise<void> {
    const intent = this.#find(ref);
    if (intent === undefined) this.sender.refusedAfterAll(ref, error);
    else await this.sender.refused(intent, error);
  }

  /** Gives up what the server refused. */
  dismiss(ref: Ref): void {
    const intent = this.#find(ref);
    if (intent === undefined) return;
    this.#host.dispatch({ type: 'dropped', ref });
    this.sender.dropped(intent);
  }

  /** Means again what the server refused, as something new. */
  async again(ref: Ref): Promise<void> {
    const intent = this.#find(ref);
    if (intent === undefined) return;
    this.dismiss(ref);
    const { failed: _, ...what } = intent;
    await this.mean(intent.conversation, what);
  }

  async #change(intents: readonly Intent[]): Promise<void> {
    // What was settled meanwhile stays settled.
    const changed = intents.filter((intent) => this.#find(intent.ref) !== undefined);
    this.#host.dispatch({ type: 'intents', intents: changed });
    await this.#keep(changed);
  }

  async #keep(intents: readonly Intent[]): Promise<void> {
    const { outbox, makeRoom, trouble } = this.#parts;
    try {
      await outbox.put(intents);
    } catch (error) {
      const again = isFull(error) && (await makeRoom());
      if (again) await outbox.put(intents).catch(trouble);
      else trouble();
    }
  }

  /** Gives what a new stamp must be above: all that is shown, and what may have been written. */
  #floor(id: ConversationId): { stamp: Stamp; after?: MessageId } {
    const { conversations, intents } = this.#host.state();
    const conversation = conversations[id];
    const thread = conversation?.thread ?? [];
    const stamps: readonly Stamp[] = [
      stampOf(conversation === undefined ? '' : headId(conversation)),
      ...thread.flatMap(({ edit }) => (edit === undefined ? [] : [stampOf(edit)])),
      ...intents.filter((intent) => intent.conversation === id && intent.attempted),
    ];
    const { at, n } = stamps.reduce((high, next) => (compareStamps(next, high) > 0 ? next : high));
    const after = newest(thread)?.id;
    return after === undefined ? { stamp: { at, n } } : { stamp: { at, n }, after };
  }
}
