/** When what other devices may have changed is loaded again. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Problem } from '../src/core/api.ts';
import { initialState, type State, type Status } from '../src/core/state.ts';
import { keepFresh } from '../src/pages/fresh.ts';
import { ME } from './given.ts';

let visibilityState: DocumentVisibilityState;
let state: State;
let tell: () => void;
let loaded: number;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  visibilityState = 'visible';
  const page = new EventTarget();
  Object.defineProperty(page, 'visibilityState', { get: () => visibilityState });
  vi.stubGlobal('document', page);
  state = initialState(ME);
  loaded = 0;
  const client = {
    state: () => state,
    subscribe: (listener: () => void) => {
      tell = listener;
      return () => {
        tell = () => {};
      };
    },
  };
  stop = keepFresh(client, async () => {
    loaded += 1;
    if (loaded === 3) throw new Problem(0, 'not reached');
  });
});

afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function turn(status: Status): void {
  state = { ...state, status };
  tell();
}

function look(at: DocumentVisibilityState): void {
  visibilityState = at;
  document.dispatchEvent(new Event('visibilitychange'));
}

const LIVE: Status = { phase: 'live' };
const LOST: Status = { phase: 'waiting', until: 0 };

test('it is loaded again for each session after the first, and whenever the page appears', async () => {
  turn(LIVE);
  turn(LIVE);
  expect(loaded).toBe(0);
  turn(LOST);
  turn(LIVE);
  expect(loaded).toBe(1);
  look('hidden');
  turn(LOST);
  turn(LIVE);
  expect(loaded).toBe(1);
  look('visible');
  expect(loaded).toBe(2);
  look('hidden');
  look('visible');
  expect(loaded).toBe(3);
  // That one failed.
  await vi.advanceTimersByTimeAsync(60_000);
  expect(loaded).toBe(4);
  stop();
  look('visible');
  turn(LOST);
  turn(LIVE);
  expect(loaded).toBe(4);
});
