import { expect, test } from 'vitest';
import { threadOf } from '../src/core/views.ts';
import { type Subject, textIn } from '../src/pages/Composer.tsx';
import { after, idAt, loaded, own, TALK } from './given.ts';

test('a reply that is chosen during an edit begins with the draft, and not with the edited text', () => {
  const [message] = threadOf(after(...loaded([own(1)])), TALK);
  if (message === undefined) throw new Error('nothing is shown');
  const edit: Subject = { how: 'edit', message };
  expect(textIn(edit, 'begun', undefined)).toBe('own 1');
  const changed = { of: edit, text: 'changed' };
  expect(textIn(edit, 'begun', changed)).toBe('changed');
  expect(textIn({ how: 'reply', id: idAt(2) }, 'begun', changed)).toBe('begun');
  expect(textIn(undefined, 'begun', changed)).toBe('begun');
  // The same message edited once more begins with what it says.
  expect(textIn({ ...edit }, 'begun', changed)).toBe('own 1');
});
