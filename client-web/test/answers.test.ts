/** Answers that overtake each other. */

import { expect, test } from 'vitest';
import { Answers } from '../src/pages/answers.ts';

test('an answer that a later one has overtaken does not hold', () => {
  const answers = new Answers();
  const [first, second, third] = [answers.ask(), answers.ask(), answers.ask()];
  expect(first()).toBe(true);
  expect(third()).toBe(true);
  expect(second()).toBe(false);
});

test('an answer that was asked for before a change does not hold after it', () => {
  const answers = new Answers();
  const before = answers.ask();
  answers.changed();
  const after = answers.ask();
  expect(before()).toBe(false);
  expect(after()).toBe(true);
  answers.changed();
  expect(answers.ask()()).toBe(true);
});
