/**
 * Between a WebSocket's text and the generated frame types.
 *
 * What the server says is checked here once, and trusted further in: every required field is
 * there and of its kind. Unknown fields pass; an unknown type is reported and ignored, because
 * a newer server may say more. Knows nothing of what a frame means.
 */

import type { ClientFrame, Head, InboxEntry, Message, ServerFrame } from '../wire.ts';

/** Names the JSON kind of a field's type, so that a shape cannot disagree with its type. */
type Kind<V> = V extends string
  ? 'string'
  : V extends number
    ? 'number'
    : V extends boolean
      ? 'boolean'
      : V extends readonly unknown[]
        ? 'array'
        : 'object';

type RequiredKeys<T> = {
  [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? never : K;
}[keyof T];

/** Every required field of `T` with its kind: a field that is added breaks the build here. */
type Shape<T> = { readonly [K in Exclude<RequiredKeys<T>, 'type' | symbol>]: Kind<T[K]> };

type FrameOf<T extends ServerFrame['type']> = Extract<ServerFrame, { type: T }>;

const SHAPES: { readonly [T in ServerFrame['type']]: Shape<FrameOf<T>> } = {
  welcome: {
    user: 'string',
    node: 'string',
    store: 'string',
    now: 'number',
    addresses: 'array',
    text_bytes: 'number',
    watches: 'number',
  },
  ack: { ref: 'string', conversation: 'string', id: 'string' },
  message: {
    id: 'string',
    conversation: 'string',
    sender: 'string',
    to: 'string',
    ref: 'string',
    text: 'string',
  },
  edited: { conversation: 'string', id: 'string', edit: 'string', text: 'string' },
  deleted: { conversation: 'string', id: 'string' },
  receipt: { conversation: 'string', user: 'string' },
  presence: { user: 'string', online: 'boolean' },
  typing: { conversation: 'string', user: 'string' },
  inbox: { entries: 'array', more: 'boolean' },
  history: { conversation: 'string', messages: 'array', more: 'boolean' },
  synced: { cursor: 'string' },
  reset: { cursor: 'string' },
  beat: { now: 'number' },
  error: { code: 'string', text: 'string', retry: 'boolean' },
  bye: { reason: 'string' },
};

const ENTRY: Shape<InboxEntry> = {
  conversation: 'string',
  peer: 'string',
  head: 'object',
  unread: 'number',
};
const HEAD: Shape<Head> = { id: 'string', sender: 'string', preview: 'string' };
const MESSAGE: Shape<Message> = SHAPES.message;

/** What became of a text: a frame, or why it is none. */
export type Decoded =
  | { readonly ok: true; readonly frame: ServerFrame }
  | { readonly ok: false; readonly problem: string };

function refuse(problem: string): Decoded {
  return { ok: false, problem };
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return value === null ? 'null' : typeof value;
}

/** Names the first field of `value` that is not as `shape` says, or nothing. */
function misfit(value: unknown, shape: Readonly<Record<string, string>>): string | undefined {
  if (kindOf(value) !== 'object') return `expected an object, got ${kindOf(value)}`;
  const fields = value as Record<string, unknown>;
  for (const [name, kind] of Object.entries(shape)) {
    const found = kindOf(fields[name]);
    if (found !== kind) return `${name}: expected ${kind}, got ${found}`;
  }
  return undefined;
}

function misfitInside(frame: ServerFrame): string | undefined {
  switch (frame.type) {
    case 'inbox':
      for (const entry of frame.entries) {
        const wrong = misfit(entry, ENTRY) ?? misfit(entry.head, HEAD);
        if (wrong !== undefined) return `entry: ${wrong}`;
      }
      return undefined;
    case 'history':
      for (const message of frame.messages) {
        const wrong = misfit(message, MESSAGE);
        if (wrong !== undefined) return `message: ${wrong}`;
      }
      return undefined;
    default:
      return undefined;
  }
}

/** Reads one frame of the server's; says what is wrong with it, quoting no field's content. */
export function decode(text: string): Decoded {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse('not JSON');
  }
  if (kindOf(value) !== 'object') return refuse(`expected an object, got ${kindOf(value)}`);
  const type = (value as { type?: unknown }).type;
  if (typeof type !== 'string') return refuse('no type');
  if (!Object.hasOwn(SHAPES, type)) return refuse(`unknown frame type ${type.slice(0, 32)}`);
  const wrong = misfit(value, SHAPES[type as ServerFrame['type']]);
  if (wrong !== undefined) return refuse(`${type}: ${wrong}`);
  const frame = value as ServerFrame;
  const inside = misfitInside(frame);
  return inside === undefined ? { ok: true, frame } : refuse(`${type}: ${inside}`);
}

/** Writes one frame of the client's. */
export function encode(frame: ClientFrame): string {
  return JSON.stringify(frame);
}

/** Fails to compile where a `switch` leaves a case out; a value that gets here all the same passes. */
export function exhausted(_value: never): void {}
