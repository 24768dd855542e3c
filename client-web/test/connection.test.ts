import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Problem } from '../src/core/api.ts';
import { Connection, type Socket } from '../src/core/connection.ts';
import type { Status } from '../src/core/state.ts';
import type { ServerFrame } from '../src/wire.ts';
import { CLIENT, fixture } from './given.ts';

const WELCOME = fixture<ServerFrame[]>('server_frames.json').find(
  ({ type }) => type === 'welcome',
) as Extract<ServerFrame, { type: 'welcome' }>;
const SYNCED: ServerFrame = { type: 'synced', cursor: 'c1' };

/** A socket whose server is the test. */
class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  readonly sent: unknown[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.closed = true;
  }

  hears(...frames: readonly ServerFrame[]): void {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

/** A connection, and everything that it does to its host. */
function given() {
  const sockets: FakeSocket[] = [];
  const statuses: Status[] = [];
  const frames: ServerFrame[] = [];
  /** After how many failures in a row discovery was asked, each time. */
  const asked: number[] = [];
  let cursor: string | undefined;
  let discover = () => Promise.resolve({ address: 'ws://x/ws', node: 'n1', ticket: 't1' });
  const connection = new Connection({
    client: CLIENT,
    cursor: () => cursor,
    discover: (_, failures) => {
      asked.push(failures);
      return discover();
    },
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    status: (status) => statuses.push(status),
    frame: (frame) => frames.push(frame),
    strange: () => {},
  });
  const settle = () => vi.advanceTimersByTimeAsync(0);
  const opened = async () => {
    await settle();
    const socket = sockets.at(-1) as FakeSocket;
    socket.onopen?.();
    return socket;
  };
  return {
    connection,
    sockets,
    frames,
    asked,
    settle,
    opened,
    phase: () => statuses.at(-1),
    know: (next: string) => {
      cursor = next;
    },
    fail: (error: unknown) => {
      discover = () => Promise.reject(error);
    },
    live: async () => {
      connection.start();
      const socket = await opened();
      socket.hears(WELCOME, SYNCED);
      return socket;
    },
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test('a session says hello with its ticket, and with its cursor once it has one', async () => {
  const { live, know, opened } = given();
  const first = await live();
  expect(first.sent).toEqual([{ type: 'hello', ticket: 't1', client: CLIENT }]);
  know('c1');
  first.onclose?.();
  await vi.advanceTimersByTimeAsync(30_000);
  expect((await opened()).sent).toMatchObject([{ type: 'hello', cursor: 'c1' }]);
});

test('nothing is written before the welcome', async () => {
  const { connection, opened } = given();
  connection.start();
  const socket = await opened();
  expect(connection.send({ type: 'beat' })).toBe(false);
  socket.hears(WELCOME);
  expect(connection.send({ type: 'beat' })).toBe(true);
  expect(socket.sent).toHaveLength(2);
});

test('it is catching up when welcomed, and live when synced', async () => {
  const { connection, opened, phase } = given();
  connection.start();
  const socket = await opened();
  socket.hears(WELCOME);
  expect(phase()).toEqual({ phase: 'catching_up' });
  socket.hears(SYNCED);
  expect(phase()).toEqual({ phase: 'live' });
});

test('who was taken over, logged out or not understood does not come back by itself', async () => {
  for (const reason of ['replaced', 'logged_out', 'protocol'] as const) {
    const { live, sockets, phase, connection, opened } = given();
    (await live()).hears({ type: 'bye', reason });
    expect(phase()).toEqual({ phase: 'ended', why: reason });
    await vi.advanceTimersByTimeAsync(600_000);
    connection.nudge();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(sockets).toHaveLength(1);
    expect(sockets[0]?.closed).toBe(true);
    connection.start();
    await opened();
    expect(sockets).toHaveLength(2);
  }
});

test('who is sent away comes back when he was told to, not before', async () => {
  const { live, sockets } = given();
  (await live()).hears({ type: 'bye', reason: 'draining', reconnect_after_ms: 1500 });
  await vi.advanceTimersByTimeAsync(1499);
  expect(sockets).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(sockets).toHaveLength(2);
});

test('a socket that closes without a word is made anew within the span of the first failure', async () => {
  const { live, sockets, phase } = given();
  (await live()).onclose?.();
  expect(phase()).toMatchObject({ phase: 'waiting' });
  await vi.advanceTimersByTimeAsync(500);
  expect(sockets).toHaveLength(2);
});

test('a server that opens the socket and says nothing is given up', async () => {
  const { connection, opened, phase } = given();
  connection.start();
  const socket = await opened();
  await vi.advanceTimersByTimeAsync(14_999);
  expect(phase()).toEqual({ phase: 'connecting' });
  await vi.advanceTimersByTimeAsync(1);
  expect(phase()).toMatchObject({ phase: 'waiting' });
  expect(socket.closed).toBe(true);
});

test('a log-in that is over ends the session, any other failure is tried again', async () => {
  const one = given();
  one.fail(new Problem(401, 'log in first'));
  one.connection.start();
  await one.settle();
  expect(one.phase()).toEqual({ phase: 'ended', why: 'logged_out' });

  const other = given();
  other.fail(new Problem(503, 'too much to do', 2000));
  other.connection.start();
  await vi.advanceTimersByTimeAsync(1999);
  expect(other.asked).toHaveLength(1);
  // Later by chance, so that not all who were refused come at once.
  await vi.advanceTimersByTimeAsync(501);
  expect(other.asked).toHaveLength(2);
});

test('who are refused with one wait come back one by one', async () => {
  const many = Array.from({ length: 20 }, () => given());
  for (const { fail, connection } of many) {
    fail(new Problem(503, 'too much to do', 2000));
    connection.start();
  }
  await vi.advanceTimersByTimeAsync(2250);
  const back = many.filter(({ asked }) => asked.length > 1).length;
  expect(back).toBeGreaterThan(0);
  expect(back).toBeLessThan(many.length);
});

test('who asks for a place says how often in a row that failed, so that others are asked', async () => {
  const { live, fail, asked } = given();
  const socket = await live();
  fail(new Problem(0, 'not reached', 10));
  socket.onclose?.();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked.slice(0, 3)).toEqual([0, 1, 2]);
});

test('the network’s return cuts a wait short', async () => {
  const { live, sockets, connection, settle } = given();
  (await live()).hears({ type: 'bye', reason: 'draining', reconnect_after_ms: 60_000 });
  connection.nudge();
  await settle();
  expect(sockets).toHaveLength(2);
});

test('what an earlier socket still says is not heard', async () => {
  const { live, frames, connection, opened } = given();
  const old = await live();
  connection.renew();
  connection.nudge();
  await opened();
  const before = frames.length;
  old.hears({ type: 'beat', now: 1 });
  expect(frames).toHaveLength(before);
  expect(old.closed).toBe(true);
});
