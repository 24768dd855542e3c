import { expect, test, vi } from 'vitest';
import { Api, Problem } from '../src/core/api.ts';
import { CLIENT } from './given.ts';

/** An Api whose nodes are the test: those in `down` are not reached, the others answer. */
function given(...down: readonly string[]) {
  const dead = new Set(down);
  const asked: string[] = [];
  const api = new Api(async (url, init) => {
    const [, base = '', path = ''] = /^(http:\/\/[^/]+)?(\/.*)$/.exec(url) ?? [];
    asked.push(`${base || 'own'} ${init.credentials}`);
    if (dead.has(base || 'own')) throw new TypeError('not reached');
    return Response.json(path === '/api/blocks' ? { users: [] } : {});
  });
  return { api, asked, dead };
}

const OWN = 'own same-origin';
const [B, C] = ['http://b include', 'http://c include'];

test('only the page’s own node is asked while it answers', async () => {
  const { api, asked } = given();
  api.know(['http://b', 'http://c']);
  await api.blocks();
  await api.blocks();
  expect(asked).toEqual([OWN, OWN]);
});

test('when it is gone the others are asked in turn, and who answered is asked first then', async () => {
  const { api, asked, dead } = given('own', 'http://b');
  api.know(['http://b', '', 'http://c']);
  await api.blocks();
  expect(asked.splice(0)).toEqual([OWN, B, C]);
  await api.blocks();
  expect(asked.splice(0)).toEqual([C]);
  dead.clear();
  dead.add('http://c');
  await api.blocks();
  expect(asked).toEqual([C, OWN]);
});

test('a node that says nothing is left sooner while there is another one', async () => {
  const patience = vi.spyOn(AbortSignal, 'timeout');
  const { api } = given('own');
  api.know(['http://b']);
  await api.blocks();
  const [first, last] = patience.mock.calls.map(([ms]) => ms);
  expect(first).toBeLessThan(last ?? 0);
});

test('who answers with a refusal was reached: nobody else is asked', async () => {
  const asked: string[] = [];
  const api = new Api(async (url) => {
    asked.push(url);
    return new Response(null, { status: 503 });
  });
  api.know(['http://b']);
  await expect(api.me()).rejects.toMatchObject({ status: 503 });
  expect(asked).toEqual(['/api/me']);
});

test('when nobody is reached each was asked once', async () => {
  const { api, asked } = given('own', 'http://b');
  api.know(['http://b']);
  await expect(api.me()).rejects.toBeInstanceOf(Problem);
  expect(asked).toEqual([OWN, B]);
});

test('who does not serve an address is passed over', async () => {
  const asked: string[] = [];
  const api = new Api(async (url) => {
    asked.push(url);
    if (url !== '/api/discover') return Response.json({ users: [] });
    return Response.json({ type: 'urn:rally:problem:role' }, { status: 404 });
  });
  api.know(['http://b']);
  await expect(api.blocks()).resolves.toEqual([]);
  await api.discover(CLIENT, 0);
  expect(asked).toEqual(['/api/blocks', '/api/discover', 'http://b/api/discover']);
});

test('after a failure to connect others are asked first, and the dead are passed over', async () => {
  const { api, asked } = given('own');
  api.know(['http://b', 'http://c']);
  await api.discover(CLIENT, 0);
  expect(asked.splice(0)).toEqual([OWN, B]);
  await api.blocks();
  expect(asked.splice(0)).toEqual([B]);
  await api.discover(CLIENT, 1);
  expect(asked).toEqual([OWN, C]);
});
