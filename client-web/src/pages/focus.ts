/**
 * The field in which one writes: there the focus goes when what had it goes away.
 *
 * Left alone it would fall to the document, and the next key would begin at the top of the page.
 */

/** Tells whether the focus costs no room: a touch keyboard covers half of the screen. */
export function focusIsCheap(): boolean {
  return matchMedia('(pointer: fine)').matches;
}

/** Puts the focus into the field, if a chat is open. */
export function focusField(): void {
  document.querySelector<HTMLElement>('.composer textarea')?.focus();
}

/** Puts the focus into the field, unless that would bring up a keyboard that nobody asked for. */
export function focusFieldIfCheap(): void {
  if (focusIsCheap()) focusField();
}
