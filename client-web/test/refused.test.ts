/** What the whole client does about what the server refuses: stamped anew, sent again, or given up. */

import { expect, test, vi } from 'vitest';
import { threadOf } from '../src/core/views.ts';
import { browserOfEachTest, passedUntil, texts, welcome } from './browser.ts';
import { idAt, NOW, PEER, TALK, until } from './given.ts';

const browser = browserOfEachTest();

const load = (client?: string) => browser().load(client);

test('a stamp that the server calls too old is made anew, under the same ref', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'late');
  await until(() => line.of('send').length === 1);
  const [first] = line.of('send');
  const now = NOW + 60_000;
  const error = { type: 'error', code: 'clock', text: 'too old', retry: true, now } as const;
  line.says({ ...error, ref: first?.ref ?? '' });
  await until(() => line.of('send').length === 2);
  const again = line.of('send')[1];
  expect(again).toMatchObject({ ref: first?.ref, text: 'late' });
  expect(again?.at).toBeGreaterThanOrEqual(now);
  expect(again?.retry).toBeUndefined();
});

test('what is refused for good is shown with its reason, and tried again as something new', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'hello?');
  await until(() => line.of('send').length === 1);
  const ref = line.of('send')[0]?.ref ?? '';
  line.says({ type: 'error', code: 'unreachable', text: 'not reachable', ref, retry: false });
  await until(() => threadOf(page.state(), TALK)[0]?.tick === 'failed');
  expect(threadOf(page.state(), TALK)[0]?.failure?.text).toBe('not reachable');
  await page.again(ref);
  await until(() => line.of('send').length === 2);
  expect(line.of('send')[1]?.ref).not.toBe(ref);
  expect(texts(page)).toEqual(['hello?']);
});

test('a text whose frame would end the session fails here, and what follows it goes out', async () => {
  const first = await load();
  first.page.open(TALK, PEER);
  await first.page.say(TALK, '\n'.repeat(50_000));
  await first.page.say(TALK, 'and this');
  await first.page.stop();

  // Left in the outbox it would end every session to come.
  const { page, line } = await load();
  welcome(line);
  await until(() => line.of('send').length === 1);
  expect(line.of('send')[0]?.text).toBe('and this');
  await until(() => threadOf(page.state(), TALK)[0]?.failure?.code === 'text_too_long');
  page.dismiss(page.state().intents[0]?.ref as string);
  expect(texts(page)).toEqual(['and this']);
});

test('half of a pair in a text or an edit is replaced before it is kept, shown and sent', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'cut \ud83d');
  await page.edit(TALK, idAt(1), 'off \udc4b');
  await until(() => line.of('edit').length === 1);
  expect(line.of('send')[0]?.text).toBe('cut \ufffd');
  expect(line.of('edit')[0]?.text).toBe('off \ufffd');
  expect(page.state().intents.map((intent) => 'text' in intent && intent.text)).toEqual([
    'cut \ufffd',
    'off \ufffd',
  ]);
});

test('a frame that the server cannot read and names is given up, and holds nothing', async () => {
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  await page.say(TALK, 'unreadable');
  await until(() => line.of('send').length === 1);
  const ref = line.of('send')[0]?.ref as string;
  line.says({ type: 'error', code: 'bad_frame', text: 'no such shape', ref, retry: false });
  await until(() => threadOf(page.state(), TALK)[0]?.tick === 'failed');
  await page.say(TALK, 'readable');
  await until(() => line.of('send').length === 2);
});

test('a stamp that went ahead is taken back, and later ones with it: nothing waits for its time', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
  const { page, line } = await load();
  welcome(line);
  page.open(TALK, PEER);
  for (const text of ['one', 'two']) await page.say(TALK, text);
  await until(() => line.of('send').length === 2);
  const [one, two] = line.of('send').map(({ ref }) => ref);
  // The server's clock is an hour behind what this client took for it.
  const now = NOW - 3_600_000;
  const refused = { type: 'error', text: '', retry: true } as const;
  line.says(
    { ...refused, code: 'ahead', ref: one as string, now, retry_after_ms: 3_596_250 },
    { ...refused, code: 'held', ref: two as string },
  );
  expect(await passedUntil(() => line.of('send').length === 4)).toBeLessThan(5_000);
  const again = line.of('send').slice(2);
  expect(again.map(({ ref, retry }) => [ref, retry])).toEqual([
    [one, undefined],
    [two, undefined],
  ]);
  for (const { at } of again) expect(Math.abs(at - now)).toBeLessThan(60_000);
  await page.say(TALK, 'three');
  await until(() => line.of('send').length === 5);
  const stamps = line
    .of('send')
    .slice(2)
    .map(({ at, n }) => at * 4096 + n);
  expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
  expect(new Set(stamps).size).toBe(3);
  expect(line.of('send')[4]?.at).toBeLessThan(now + 60_000);
});

test('a retry that is ahead by more than any attempt lives is stamped anew too', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
  const first = await load();
  welcome(first.line);
  first.page.open(TALK, PEER);
  await first.page.say(TALK, 'ahead');
  await until(() => first.line.of('send').length === 1);
  await first.page.stop();

  const { line } = await load();
  welcome(line);
  await until(() => line.of('send').length === 1);
  expect(line.of('send')[0]?.retry).toBe(true);
  const ref = line.of('send')[0]?.ref as string;
  const now = NOW - 3_600_000;
  const error = { type: 'error', code: 'ahead', text: '', retry: true } as const;
  line.says({ ...error, ref, now, retry_after_ms: 3_596_250 });
  expect(await passedUntil(() => line.of('send').length === 2)).toBeLessThan(5_000);
  expect(line.of('send')[1]).toMatchObject({ ref });
  expect(line.of('send')[1]?.retry).toBeUndefined();
  expect(Math.abs((line.of('send')[1]?.at ?? 0) - now)).toBeLessThan(60_000);
});
