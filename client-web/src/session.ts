/**
 * Puts a tab's client together from what the browser has: database, locks, sockets.
 *
 * The one place that touches those; everything it builds takes them as parts.
 */

import type { Api, Me } from './core/api.ts';
import { Client } from './core/client.ts';
import type { Socket } from './core/connection.ts';
import { Cache } from './core/store/cache.ts';
import { type Database, openDatabase } from './core/store/idb.ts';
import { Journal } from './core/store/journal.ts';
import { Outbox } from './core/store/outbox.ts';
import { livenessHere, takeClient } from './core/tabs.ts';

/** A logged-in user's client in this tab. */
export interface Session {
  readonly me: Me;
  readonly client: Client;
  /** Ends the client and deletes what it kept on this machine. */
  readonly forget: () => Promise<void>;
}

async function databaseHere(): Promise<Database | undefined> {
  try {
    return await openDatabase(indexedDB);
  } catch {
    // A private window may offer none: all is well until a reload.
    return undefined;
  }
}

/** Begins a session; `notice` hears what the user should know. */
export async function openSession(
  api: Api,
  me: Me,
  notice: (text: string) => void,
): Promise<Session> {
  const liveness = livenessHere();
  const [id, database] = await Promise.all([takeClient(liveness, sessionStorage), databaseHere()]);
  const cache = database && new Cache(database);
  const journal = new Journal(sessionStorage);
  const client = new Client({
    user: me.user,
    client: id,
    api,
    open: (address, protocol) => new WebSocket(address, protocol) as Socket,
    cache,
    outbox: database && new Outbox(database, journal),
    liveness,
    notice,
    otherUser: () => location.reload(),
  });
  const forget = async () => {
    await client.stop();
    journal.clear();
    await cache?.forget(me.user);
  };
  return { me, client, forget };
}
