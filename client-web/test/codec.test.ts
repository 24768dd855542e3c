import { expect, test } from 'vitest';
import { decode, encode } from '../src/core/codec.ts';
import { frameOf } from '../src/core/intent.ts';
import type { ClientFrame, ServerFrame } from '../src/wire.ts';
import { fixture, sending } from './given.ts';

const SERVER = fixture<ServerFrame[]>('server_frames.json');
const CLIENT = fixture<ClientFrame[]>('client_frames.json');

test('every golden frame of the server is understood as it stands', () => {
  for (const frame of SERVER) {
    expect(decode(JSON.stringify(frame))).toEqual({ ok: true, frame });
  }
});

test('the golden frames show every type that the server has', () => {
  const types = new Set(SERVER.map((frame) => frame.type));
  expect([...types].sort()).toEqual(
    [
      ...['ack', 'beat', 'bye', 'deleted', 'edited', 'error', 'history', 'inbox', 'message'],
      ...['presence', 'receipt', 'reset', 'synced', 'typing', 'welcome'],
    ].sort(),
  );
});

test('a frame that lacks any of its required fields is refused by the name of the field', () => {
  const optional = new Set([
    ...['reply_to', 'edit', 'deleted', 'after', 'delivered_up_to', 'read_up_to', 'last_seen'],
    ...['ref', 'cut', 'retry_after_ms', 'now', 'reconnect_after_ms', 'unasked'],
  ]);
  let refused = 0;
  for (const frame of SERVER) {
    for (const field of Object.keys(frame)) {
      const { [field]: _, ...rest } = frame as Record<string, unknown>;
      const decoded = decode(JSON.stringify(rest));
      if (decoded.ok) {
        expect(optional, `${frame.type} without ${field}`).toContain(field);
        continue;
      }
      refused += 1;
      if (field !== 'type') expect(decoded.problem).toContain(`${field}: expected`);
    }
  }
  expect(refused).toBeGreaterThan(60);
});

test('a field of another kind is refused, inside lists too', () => {
  const history = SERVER.find((frame) => frame.type === 'history' && frame.messages.length > 0);
  const inbox = SERVER.find((frame) => frame.type === 'inbox' && frame.entries.length > 0);
  const broken = [
    JSON.stringify(history).replace('"text":"hi Ben 👋"', '"text":5'),
    JSON.stringify(inbox).replace('"unread":0', '"unread":"0"'),
    JSON.stringify(inbox).replace('"preview":"hi Ben 👋"', '"preview":null'),
  ];
  expect(broken.map((text) => decode(text))).toEqual([
    { ok: false, problem: 'history: message: text: expected string, got number' },
    { ok: false, problem: 'inbox: entry: unread: expected number, got string' },
    { ok: false, problem: 'inbox: entry: preview: expected string, got null' },
  ]);
});

test('a field and a type that a newer server knows do no harm', () => {
  expect(decode('{"type":"beat","now":1,"mood":"good"}')).toMatchObject({ ok: true });
  expect(decode('{"type":"shout","text":"x"}')).toEqual({
    ok: false,
    problem: 'unknown frame type shout',
  });
});

test('what is no frame is refused and throws nothing', () => {
  const texts = fixture<{ frame: string }[]>('bad_client_frames.json').map(({ frame }) => frame);
  for (const text of [...texts, '"', '5', 'true', '{"type":"toString"}', '\u0000']) {
    expect(decode(text).ok, text).toBe(false);
  }
});

test('what the client writes are frames as the golden ones', () => {
  for (const frame of CLIENT) expect(JSON.parse(encode(frame))).toEqual(frame);
  const golden = CLIENT.find((frame) => frame.type === 'send' && frame.retry);
  const written = frameOf(sending(1, { attempted: true, after: 'a', replyTo: 'b' }));
  const known = new Set(Object.keys(golden ?? {}));
  for (const field of Object.keys(written)) expect(known).toContain(field);
});
