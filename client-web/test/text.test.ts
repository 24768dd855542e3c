import { expect, test } from 'vitest';
import { encode } from '../src/core/codec.ts';
import { frameOf } from '../src/core/intent.ts';
import { AROUND_BYTES, excess, fits, wellFormed } from '../src/core/text.ts';
import { FRAME_BYTES, TEXT_BYTES } from '../src/wire.ts';
import { idAt, NOW, sending } from './given.ts';

const bytes = (text: string) => Buffer.byteLength(text);

/** A send with every field that a send can have. */
const full = (text: string) =>
  sending(1, {
    ...{ text, to: 'x'.repeat(32), at: NOW, n: 4095, attempted: true },
    ...{ after: idAt(1), replyTo: idAt(2) },
  });

test('a frame has less around its text than is set aside for it', () => {
  expect(bytes(encode(frameOf(full(''))))).toBeLessThan(AROUND_BYTES);
  const edit = { ...full(''), kind: 'edit', target: idAt(3) } as const;
  expect(bytes(encode(frameOf(edit)))).toBeLessThan(AROUND_BYTES);
});

test('a frame fits to the byte, whatever its text is made of', () => {
  for (const sign of ['x', '"', '\n', '\u0001', 'é', '汉', '👋']) {
    const each = bytes(JSON.stringify(sign)) - 2;
    const room = FRAME_BYTES - bytes(encode(frameOf(full(''))));
    const most = Math.floor(room / each);
    const filled = (count: number) => `${sign.repeat(count)}${'x'.repeat(room - most * each)}`;
    expect(fits(frameOf(full(filled(most)))), sign).toBe(true);
    expect(fits(frameOf(full(`${filled(most)}x`))), sign).toBe(false);
  }
});

test('what the composer lets through is not refused by the length of its frame', () => {
  for (const sign of ['x', '"', '\n', '\u0001', 'é', '汉', '👋']) {
    const escaped = bytes(JSON.stringify(sign)) - 2;
    const room = (FRAME_BYTES - AROUND_BYTES - 2) / escaped;
    const most = Math.floor(Math.min(room, TEXT_BYTES / bytes(sign)));
    expect(excess(sign.repeat(most), TEXT_BYTES), sign).toBeUndefined();
    expect(excess(sign.repeat(most + 1), TEXT_BYTES), sign).toBeDefined();
    expect(fits(frameOf(full(sign.repeat(most)))), sign).toBe(true);
  }
});

test('a text is too long by its own bytes or by those that JSON makes of it, and which is said', () => {
  expect(excess('x'.repeat(TEXT_BYTES), TEXT_BYTES)).toBeUndefined();
  expect(excess('x'.repeat(TEXT_BYTES + 1), TEXT_BYTES)).toContain(`${TEXT_BYTES + 1} bytes`);
  expect(excess('x\n'.repeat(25_000), TEXT_BYTES)).toBeUndefined();
  expect(excess('\n'.repeat(50_000), TEXT_BYTES)).toContain('100002 bytes');
});

test('half of a pair is replaced, and whole ones are kept', () => {
  expect(wellFormed('a\ud83d b\udc4b c👋')).toBe('a\ufffd b\ufffd c👋');
});
