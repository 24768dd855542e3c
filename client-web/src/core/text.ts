/**
 * What the server takes as a text, known before anything is sent.
 *
 * A text is bounded twice: by its own bytes, and by those of the frame that carries it, in which a
 * quote or a line break is two signs long and other signs six. Knows nothing of who writes it.
 */

import { type ClientFrame, FRAME_BYTES } from '../wire.ts';
import { encode } from './codec.ts';

/** More than any frame has around its text. */
export const AROUND_BYTES = 1024;

/** The most bytes that JSON makes of one UTF-16 unit: `\u0000`. */
const UNIT_BYTES = 6;

const encoder = new TextEncoder();

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** Puts a replacement character where half of a pair stands alone: UTF-8 cannot write it. */
export function wellFormed(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd');
}

/** Tells whether the server takes a frame by its length. */
export function fits(frame: ClientFrame): boolean {
  const text = 'text' in frame ? frame.text : '';
  if (text.length * UNIT_BYTES + AROUND_BYTES <= FRAME_BYTES) return true;
  return bytesOf(encode(frame)) <= FRAME_BYTES;
}

/** Says in words for people why a text is too long, of which `textBytes` may be sent, or nothing. */
export function excess(text: string, textBytes: number): string | undefined {
  const bytes = bytesOf(text);
  if (bytes > textBytes) return `This is ${bytes} bytes long; ${textBytes} can be sent.`;
  const most = FRAME_BYTES - AROUND_BYTES;
  if (text.length * UNIT_BYTES <= most) return undefined;
  const escaped = bytesOf(JSON.stringify(text));
  if (escaped <= most) return undefined;
  return `With its quotes and line breaks escaped this is ${escaped} bytes long; ${most} can be sent.`;
}
