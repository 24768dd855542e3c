/**
 * Where the focus goes when what had it goes away: into the field in which one writes, or beside it.
 *
 * Left alone it would fall to the document, and the next key would begin at the top of the page.
 */

import type { UserId } from '../wire.ts';
import { hrefOf } from './route.ts';

function focus(...selectors: readonly string[]): void {
  for (const selector of selectors) {
    const element = document.querySelector<HTMLElement>(selector);
    if (element === null) continue;
    element.focus();
    return;
  }
}

/** Tells whether nothing has the focus: what had it, if anything, is gone. */
function isFree(): boolean {
  return document.activeElement === document.body;
}

/** Tells whether the focus costs no room: a touch keyboard covers half of the screen. */
function focusIsCheap(): boolean {
  return matchMedia('(pointer: fine)').matches;
}

/**
 * Puts the focus into the open chat: into its field or, where there is none or it would bring up a
 * keyboard that nobody asked for, on its heading.
 */
export function focusChat(): void {
  if (focusIsCheap()) focus('.composer textarea', '.chat h2');
  else focus('.chat h2');
}

/** Puts the focus into the open chat when its field has come or gone, unless something else has it. */
export function focusChatIfFree(): void {
  if (isFree()) focusChat();
}

/** Puts the focus on the line of a chat that was closed, unless something else has it. */
export function focusLine(peer: UserId): void {
  if (!isFree()) return;
  // While something else is searched for it has no line.
  focus(`.inbox a[href="${hrefOf(peer)}"]`, '.inbox a');
}
