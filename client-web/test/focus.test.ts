/** Where the focus goes on a page whose elements are their selectors. */

import { afterEach, expect, test, vi } from 'vitest';
import { focusChat, focusChatIfFree, focusLine } from '../src/pages/focus.ts';
import { PEER } from './given.ts';

const FIELD = '.composer textarea';
const HEADING = '.chat h2';
const LINE = `.inbox a[href="#/${PEER}"]`;

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A page with some elements; gives which of them get the focus. */
function pageOf(pointer: 'fine' | 'coarse', ...selectors: readonly string[]): string[] {
  const focused: string[] = [];
  const body = {};
  vi.stubGlobal('matchMedia', (query: string) => ({ matches: query.includes(pointer) }));
  vi.stubGlobal('document', {
    body,
    activeElement: body,
    querySelector: (selector: string) =>
      selectors.includes(selector) ? { focus: () => focused.push(selector) } : null,
  });
  return focused;
}

test('in a chat the focus goes into the field, or on the heading where that costs room or there is none', () => {
  const goesTo = (...given: Parameters<typeof pageOf>) => {
    const focused = pageOf(...given);
    focusChat();
    return focused;
  };
  expect(goesTo('fine', FIELD, HEADING)).toEqual([FIELD]);
  expect(goesTo('coarse', FIELD, HEADING)).toEqual([HEADING]);
  expect(goesTo('fine', HEADING)).toEqual([HEADING]);
  expect(goesTo('fine')).toEqual([]);
});

test('a field that comes or goes has the focus follow only where nothing else has it', () => {
  const free = pageOf('fine', FIELD, HEADING);
  focusChatIfFree();
  expect(free).toEqual([FIELD]);
  // Blocked on another device, while one wrote in the field.
  const gone = pageOf('fine', HEADING);
  focusChatIfFree();
  expect(gone).toEqual([HEADING]);
  const searching = pageOf('fine', FIELD, HEADING);
  Object.assign(document, { activeElement: {} });
  focusChatIfFree();
  expect(searching).toEqual([]);
});

test('the focus of a chat that is closed goes to its line, unless something else has it', () => {
  const focused = pageOf('fine', LINE, '.inbox a');
  focusLine(PEER);
  expect(focused).toEqual([LINE]);
  const searching = pageOf('fine', '.inbox a');
  focusLine(PEER);
  expect(searching).toEqual(['.inbox a']);
  const busy = pageOf('fine', LINE);
  Object.assign(document, { activeElement: {} });
  focusLine(PEER);
  expect(busy).toEqual([]);
});
