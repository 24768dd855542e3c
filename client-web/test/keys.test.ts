import { expect, test } from 'vitest';
import { isOfWord } from '../src/pages/keys.ts';

test('Enter that chooses a composed word is of that word, in Safari too, and else of the field', () => {
  expect(isOfWord({ isComposing: true, keyCode: 13 })).toBe(true);
  expect(isOfWord({ isComposing: false, keyCode: 229 })).toBe(true);
  expect(isOfWord({ isComposing: false, keyCode: 13 })).toBe(false);
});
