/** How a user gets out of the tab in which he logs out, whatever the server gets to say of it. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Api } from '../src/core/api.ts';
import { isLoggedOut } from '../src/core/state.ts';
import { openDatabase } from '../src/core/store/idb.ts';
import { Journal } from '../src/core/store/journal.ts';
import { Outbox } from '../src/core/store/outbox.ts';
import { openSession, type Session } from '../src/session.ts';
import { browserOfEachTest, Line, welcome } from './browser.ts';
import { ME, PEER, storage, TALK, until } from './given.ts';

const browser = browserOfEachTest();

let kept: ReturnType<typeof storage>;
let lines: Line[];
let begunAnew: string[];
const channels: BroadcastChannel[] = [];
const sessions: Session[] = [];

class Channel extends BroadcastChannel {
  constructor(name: string) {
    super(name);
    channels.push(this);
  }
}

class LineHere extends Line {
  constructor() {
    super();
    lines.push(this);
  }
}

beforeEach(() => {
  [kept, lines, begunAnew] = [storage(), [], []];
  // Nobody else holds a lock.
  const request = async (_: string, __: object, work: (lock: object) => unknown) => work({});
  vi.stubGlobal('navigator', { locks: { request } });
  vi.stubGlobal('location', { replace: (url: string) => begunAnew.push(url) });
  vi.stubGlobal('indexedDB', browser().factory);
  vi.stubGlobal('sessionStorage', kept);
  vi.stubGlobal('WebSocket', LineHere);
  vi.stubGlobal('BroadcastChannel', Channel);
});

/** Closes what is open: another tab would hear of the next log-out. */
async function closeTabs(): Promise<void> {
  for (const { client } of sessions.splice(0)) await client.stop();
  for (const channel of channels.splice(0)) channel.close();
  lines = [];
}

afterEach(async () => {
  await closeTabs();
  vi.unstubAllGlobals();
});

/** A tab with a message that is not confirmed, and another that is begun. */
async function tab() {
  let respond: (answer: Response | Promise<Response>) => void = () => {};
  const api = new Api((url) => {
    const place = { address: 'ws://x/ws', node: 'n1', ticket: 't' };
    if (url === '/api/discover') return Promise.resolve(Response.json(place));
    return new Promise((resolve) => {
      respond = resolve;
    });
  });
  const me = { user: ME, name: 'Ana', hide_presence: false };
  const session = await openSession(api, me, () => {});
  sessions.push(session);
  const { client, drafts, wayOut } = session;
  await client.start();
  await until(() => lines.length > 0);
  const line = lines[0] as Line;
  welcome(line);
  client.open(TALK, PEER);
  await client.say(TALK, 'unsent');
  drafts.change(TALK, { text: 'begun' });
  drafts.keep();
  return {
    ...{ client, wayOut },
    /** Logs out; gives the status of what went wrong. */
    leaves: () => wayOut.take(() => api.logout()).catch(({ status }: { status: number }) => status),
    answers: (answer: Response | 'lost') =>
      respond(answer === 'lost' ? Promise.reject(new TypeError(answer)) : answer),
    saysBye: () => line.says({ type: 'bye', reason: 'logged_out' }),
  };
}

/** Gives what is left of the user on the machine. */
async function left(): Promise<readonly unknown[]> {
  const outbox = new Outbox(await openDatabase(browser().factory), new Journal(storage()));
  const meant = await outbox.all(ME);
  const rows = [...kept.rows].filter(([key]) => key !== 'rally.client');
  return [...meant.map((intent) => 'text' in intent && intent.text), ...rows.map(([, row]) => row)];
}

const ALL = ['unsent', JSON.stringify({ text: 'begun' })];
const refusal = () => new Response(null, { status: 503 });
const success = () => new Response(null, { status: 204 });

test('who logs out loses what he agreed to lose, and begins anew', async () => {
  const { leaves, answers } = await tab();
  expect(await left()).toEqual(ALL);
  const outcome = leaves();
  answers(success());
  expect(await outcome).toBeUndefined();
  expect(await left()).toEqual([]);
  expect(begunAnew).toEqual(['/']);
});

test('who hears that his log-in is over before he has the answer leaves, whatever that is', async () => {
  for (const answer of ['lost', refusal(), success()] as const) {
    const { leaves, answers, saysBye } = await tab();
    const outcome = leaves();
    saysBye();
    // What is kept goes at once: the answer may be long in coming.
    await until(async () => (await left()).length === 0);
    expect(begunAnew).toEqual([]);
    answers(answer);
    expect(await outcome).toBeUndefined();
    expect(begunAnew.splice(0)).toEqual(['/']);
    await closeTabs();
  }
});

test('who was told that he could not log out leaves once his log-in is over all the same', async () => {
  for (const answer of ['lost', refusal()] as const) {
    const { leaves, answers, saysBye } = await tab();
    const outcome = leaves();
    answers(answer);
    expect(await outcome).toBe(answer === 'lost' ? 0 : 503);
    expect(await left()).toEqual(ALL);
    saysBye();
    await until(() => begunAnew.length > 0);
    expect(await left()).toEqual([]);
    expect(begunAnew.splice(0)).toEqual(['/']);
    await closeTabs();
  }
});

test('who could not log out and went on writing loses nothing when his log-in ends', async () => {
  const { client, wayOut, leaves, answers, saysBye } = await tab();
  const outcome = leaves();
  answers('lost');
  expect(await outcome).toBe(0);
  await client.say(TALK, 'meant later');
  saysBye();
  expect(wayOut.isTaken).toBe(false);
  expect((await left()).toSorted()).toEqual([...ALL, 'meant later'].toSorted());
  expect(begunAnew).toEqual([]);
});

test('only who logs out elsewhere is told that he is logged out', async () => {
  for (const here of [true, false]) {
    const { client, wayOut, leaves, saysBye } = await tab();
    const shown: boolean[] = [];
    client.subscribe(() => {
      if (isLoggedOut(client.state())) shown.push(wayOut.isTaken);
    });
    if (here) void leaves();
    saysBye();
    expect(shown).toEqual([here]);
    await closeTabs();
  }
});
