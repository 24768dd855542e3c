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

test('what a user asks names him, and nothing is done when somebody else is logged in', async () => {
  const named: (string | undefined)[] = [];
  let other = false;
  const api = new Api(async (_, { headers }) => {
    named.push((headers as Record<string, string>)['x-rally-user']);
    if (!other) return Response.json({ users: [] });
    return Response.json({ type: 'urn:rally:problem:other-user' }, { status: 409 });
  });
  let told = 0;
  await api.me();
  api.actAs('ana', () => {
    told += 1;
  });
  await api.blocks();
  expect(named).toEqual([undefined, 'ana']);
  expect(told).toBe(0);
  other = true;
  await expect(api.block('ben', true)).rejects.toMatchObject({ status: 409 });
  expect(told).toBe(1);
});

test('who logs out without being logged in has what he wanted', async () => {
  for (const status of [401, 503]) {
    const api = new Api(async () => new Response(null, { status }));
    const outcome = await api.logout().catch((error: Problem) => error.status);
    expect(outcome).toBe(status === 401 ? undefined : 503);
    // Whether other devices are logged out is not known then.
    await expect(api.logoutEverywhere()).rejects.toMatchObject({ status });
  }
});

/** An Api whose first node makes the account and does not get to say so; `fits` is its password. */
function registering(fits: string) {
  const asked: string[] = [];
  const api = new Api(async (url, { body }) => {
    const [, base = 'own', path = ''] = /^(http:\/\/[^/]+)?(\/.*)$/.exec(url) ?? [];
    asked.push(`${base} ${path}`);
    if (base === 'own') throw new TypeError('not reached');
    if (path === '/api/register') return Response.json({ detail: 'taken' }, { status: 409 });
    const { password } = JSON.parse(String(body));
    return password === fits ? Response.json({}) : new Response(null, { status: 401 });
  });
  api.know(['http://b']);
  return { api, asked };
}

test('an account that was made by an attempt without an answer is logged in to', async () => {
  const { api, asked } = registering('secret');
  await api.register('ana', '', 'secret');
  expect(asked.filter((url) => url.startsWith('http://b'))).toEqual([
    'http://b /api/register',
    'http://b /api/login',
  ]);
});

test('a name that somebody else has is taken, however often it was asked for', async () => {
  const { api } = registering('his');
  await expect(api.register('ana', '', 'secret')).rejects.toMatchObject({ message: 'taken' });
  const asked: string[] = [];
  const reached = new Api(async (url) => {
    asked.push(url);
    return Response.json({ detail: 'taken' }, { status: 409 });
  });
  await expect(reached.register('ana', '', 'secret')).rejects.toMatchObject({ message: 'taken' });
  expect(asked).toEqual(['/api/register']);
});

test('an account is logged in to as well when the attempt without an answer was an earlier one', async () => {
  let reached = false;
  const api = new Api(async (url) => {
    if (!reached) throw new TypeError('not reached');
    return url === '/api/login' ? Response.json({}) : new Response(null, { status: 409 });
  });
  await expect(api.register('ana', '', 'secret')).rejects.toMatchObject({ status: 0 });
  reached = true;
  await api.register('ana', '', 'secret');
});
