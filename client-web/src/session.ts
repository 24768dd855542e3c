/**
 * Puts a tab's client together from what the browser has: database, locks, channels, sockets.
 *
 * The one place that touches those; everything it builds takes them as parts.
 */

import { type Api, type Me, Problem } from './core/api.ts';
import { Client } from './core/client.ts';
import type { Socket } from './core/connection.ts';
import { Farewell } from './core/farewell.ts';
import { Cache } from './core/store/cache.ts';
import { Drafts } from './core/store/drafts.ts';
import { type Database, openDatabase } from './core/store/idb.ts';
import { Journal } from './core/store/journal.ts';
import { Outbox } from './core/store/outbox.ts';
import { livenessHere, takeClient } from './core/tabs.ts';
import { WayOut } from './core/way-out.ts';
import type { UserId } from './wire.ts';

/** A logged-in user's client in this tab. */
export interface Session {
  readonly me: Me;
  readonly client: Client;
  readonly drafts: Drafts;
  /** Counts what the user meant to do, in any tab, that the server has not confirmed. */
  readonly unsent: () => Promise<number>;
  readonly wayOut: WayOut;
}

/** Deletes what users other than `user` were told and left on this machine. */
async function forgetOthers(user: UserId | undefined): Promise<void> {
  try {
    const database = await openDatabase(indexedDB);
    try {
      await new Cache(database).forgetOthers(user);
    } finally {
      database.close();
    }
  } catch {
    // Whoever enters next tries again.
  }
}

/**
 * Tells who is logged in, if anybody is. The log-ins of all others are over, however they ended, and
 * what they were told is gone from this machine then; what they meant to do stays.
 */
export async function whoEnters(api: Pick<Api, 'me'>): Promise<Me | undefined> {
  let me: Me | undefined;
  try {
    me = await api.me();
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401)) throw error;
  }
  await forgetOthers(me?.user);
  return me;
}

async function databaseHere(notice: (text: string) => void): Promise<Database | undefined> {
  try {
    // A newer page has other tables: this one is loaded anew, and finds what was meant and begun, but
    // not what an edit had made of its text.
    return await openDatabase(indexedDB, () => location.reload());
  } catch {
    // As in some private windows.
    notice('This browser keeps nothing: what is not sent when you close this tab is lost.');
    return undefined;
  }
}

/** Loads the page without the chat that its address names: somebody else may log in. */
function beginAnew(): void {
  location.replace('/');
}

/** Begins a session; `notice` hears what the user should know. */
export async function openSession(
  api: Api,
  me: Me,
  notice: (text: string) => void,
): Promise<Session> {
  const { user } = me;
  const liveness = livenessHere();
  const taken = takeClient(liveness, sessionStorage);
  const [id, database] = await Promise.all([taken, databaseHere(notice)]);
  const journal = new Journal(sessionStorage);
  const outbox = new Outbox(database, journal);
  const drafts = new Drafts(sessionStorage, user);
  const farewell = new Farewell(new BroadcastChannel('rally-farewell'));
  const client = new Client({
    ...{ user, client: id, api, outbox, liveness, notice },
    open: (address, protocol) => new WebSocket(address, protocol) as Socket,
    cache: database && new Cache(database),
    otherUser: beginAnew,
  });
  api.actAs(user, beginAnew);

  farewell.hear(user, async () => {
    client.abandon();
    drafts.forget();
    // What this tab wrote while the other one deleted, and nothing that was meant since.
    const own = [...client.state().intents, ...journal.of(user)];
    await outbox
      .remove(
        user,
        own.map(({ ref }) => ref),
      )
      .catch(() => {});
    beginAnew();
  });
  const unsent = async () => {
    const own = client.state().intents.length;
    const all = await outbox.all(user).catch(() => []);
    return Math.max(own, all.length);
  };
  /** Ends the user's clients in all tabs, and deletes what they kept on this machine. */
  const forget = async () => {
    farewell.say(user);
    drafts.forget();
    // The user is logged out, whatever the database says.
    await Promise.allSettled([client.forget(), outbox.forget(user)]);
  };
  const wayOut = new WayOut({
    state: client.state,
    subscribe: client.subscribe,
    forget,
    beginAnew,
  });
  return { me, client, drafts, unsent, wayOut };
}
