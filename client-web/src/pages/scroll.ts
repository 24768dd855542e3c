/**
 * Keeps still what the user is looking at while messages come, go and grow around it.
 *
 * At the bottom the newest message stays in view; elsewhere the first message in view stays
 * where it is, whatever is loaded above it. The browser's own anchoring is switched off: not
 * every browser has it, and none of them at the top.
 */

import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Shown } from '../core/views.ts';

/** Nearer to the bottom than this is at the bottom. */
const BOTTOM_PX = 40;

/** Nearer to the top than this, older messages are loaded. */
const TOP_PX = 800;

/** What stays where it is. */
type Anchor = 'bottom' | { readonly key: string; readonly top: number };

/** Gives where an element stands within the box. */
function topOf(box: Element, element: Element): number {
  return element.getBoundingClientRect().top - box.getBoundingClientRect().top;
}

/** Finds the first message whose end is in view; they stand in order. */
function firstInView(box: Element): HTMLElement | undefined {
  const all = box.querySelectorAll<HTMLElement>('[data-key]');
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const element = all[middle] as HTMLElement;
    if (topOf(box, element) + element.offsetHeight <= 0) low = middle + 1;
    else high = middle;
  }
  return all[low];
}

function anchorOf(box: Element): Anchor {
  if (box.scrollHeight - box.scrollTop - box.clientHeight < BOTTOM_PX) return 'bottom';
  const element = firstInView(box);
  const key = element?.dataset.key;
  return element === undefined || key === undefined ? 'bottom' : { key, top: topOf(box, element) };
}

function hold(box: Element, anchor: Anchor): void {
  if (anchor === 'bottom') {
    box.scrollTop = box.scrollHeight;
    return;
  }
  const element = box.querySelector(`[data-key="${CSS.escape(anchor.key)}"]`);
  if (element !== null) box.scrollTop += topOf(box, element) - anchor.top;
}

/** What a scrolling thread needs. */
export interface Scroll {
  readonly box: RefObject<HTMLElement | null>;
  readonly content: RefObject<HTMLOListElement | null>;
  readonly atBottom: boolean;
  readonly onScroll: () => void;
  readonly toBottom: () => void;
}

/** Anchors a thread; `onBottom` hears whether its end is in view, `onTop` that its top is near. */
export function useScroll(
  messages: readonly Shown[],
  onBottom: (atBottom: boolean) => void,
  onTop: () => void,
): Scroll {
  const box = useRef<HTMLElement>(null);
  const content = useRef<HTMLOListElement>(null);
  const anchor = useRef<Anchor>('bottom');
  const lastKey = useRef<string>(undefined);
  const [atBottom, setAtBottom] = useState(true);

  const settle = useCallback((to: Anchor) => {
    anchor.current = to;
    setAtBottom(to === 'bottom');
  }, []);

  useEffect(() => onBottom(atBottom), [onBottom, atBottom]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: it is about new messages only
  useLayoutEffect(() => {
    const at = box.current;
    if (at === null) return;
    const last = messages.at(-1);
    // What one has just written one wants to see.
    const wrote = last?.tick === 'pending' && last.key !== lastKey.current;
    lastKey.current = last?.key;
    if (wrote) settle('bottom');
    hold(at, anchor.current);
    if (at.scrollTop < TOP_PX) onTop();
  }, [messages]);

  useEffect(() => {
    const at = box.current;
    const inside = content.current;
    if (at === null || inside === null) return;
    const observer = new ResizeObserver(() => hold(at, anchor.current));
    observer.observe(at);
    observer.observe(inside);
    return () => observer.disconnect();
  }, []);

  const onScroll = () => {
    const at = box.current;
    if (at === null) return;
    settle(anchorOf(at));
    if (at.scrollTop < TOP_PX) onTop();
  };
  const toBottom = () => {
    settle('bottom');
    if (box.current !== null) hold(box.current, 'bottom');
  };
  return { box, content, atBottom, onScroll, toBottom };
}
