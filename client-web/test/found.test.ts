import { expect, test } from 'vitest';
import { foundBy } from '../src/pages/found.ts';

const CARL = { user: 'carl', name: 'Carl', conversation: 'c' };

test('nobody is found by what stands in the field until the server was asked about just that', () => {
  const answer = { query: 'ca', people: [CARL] };
  expect(foundBy('ca', answer)).toEqual([CARL]);
  for (const query of ['', 'c', 'cat']) expect(foundBy(query, answer)).toBeUndefined();
  expect(foundBy('', undefined)).toBeUndefined();
});
