import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Drafts } from '../src/core/store/drafts.ts';
import { idAt, ME, PEER, storage, TALK } from './given.ts';

const OTHER = 'f0000000-0000-5000-8000-000000000000';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test('what was begun and what it answers survive a reload, by user and conversation', () => {
  const kept = storage();
  const drafts = new Drafts(kept, ME);
  drafts.change(TALK, { text: 'I was' });
  drafts.change(TALK, { replyTo: idAt(1) });
  drafts.change(OTHER, { text: 'to carl' });
  drafts.keep();
  const reloaded = new Drafts(kept, ME);
  expect(reloaded.get(TALK)).toEqual({ text: 'I was', replyTo: idAt(1) });
  expect(reloaded.get(OTHER)).toEqual({ text: 'to carl' });
  expect(new Drafts(kept, PEER).get(TALK)).toEqual({ text: '' });
});

test('a burst of keys is written once, a moment after the last', () => {
  const kept = storage();
  const write = vi.spyOn(kept, 'setItem');
  const drafts = new Drafts(kept, ME);
  for (let i = 1; i <= 20; i += 1) {
    drafts.change(TALK, { text: 'x'.repeat(i) });
    vi.advanceTimersByTime(50);
  }
  expect(write).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1000);
  expect(write).toHaveBeenCalledTimes(1);
  expect(new Drafts(kept, ME).get(TALK).text).toBe('x'.repeat(20));
});

test('what was sent leaves no draft', () => {
  const kept = storage();
  const drafts = new Drafts(kept, ME);
  drafts.change(TALK, { text: 'sent', replyTo: idAt(1) });
  drafts.keep();
  drafts.change(TALK, { text: '', replyTo: undefined });
  drafts.keep();
  expect(kept.rows.size).toBe(0);
});

test('without room a draft lives as long as the page', () => {
  const full = storage();
  vi.spyOn(full, 'setItem').mockImplementation(() => {
    throw new DOMException('full', 'QuotaExceededError');
  });
  const drafts = new Drafts(full, ME);
  drafts.change(TALK, { text: 'begun' });
  drafts.keep();
  expect(drafts.get(TALK).text).toBe('begun');
});

test('who logs out leaves no draft, not even one that is about to be written', () => {
  const kept = storage();
  const [mine, his] = [new Drafts(kept, ME), new Drafts(kept, PEER)];
  his.change(TALK, { text: 'his' });
  mine.change(TALK, { text: 'kept' });
  for (const drafts of [his, mine]) drafts.keep();
  mine.change(OTHER, { text: 'not yet kept' });
  mine.forget();
  vi.advanceTimersByTime(1000);
  mine.keep();
  expect(mine.get(TALK).text + mine.get(OTHER).text).toBe('');
  expect(kept.rows.size).toBe(1);
  expect(his.get(TALK).text).toBe('his');
});
