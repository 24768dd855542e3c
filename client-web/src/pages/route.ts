/**
 * Whose chat is open, kept in the address: a reload opens it again, and "back" closes it.
 */

import { useSyncExternalStore } from 'react';
import type { UserId } from '../wire.ts';

function read(): UserId | undefined {
  const found = /^#\/([a-z0-9][a-z0-9_.-]{0,31})$/.exec(location.hash);
  return found?.[1];
}

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
}

/** Gives the peer whose chat is open. */
export function useOpenPeer(): UserId | undefined {
  return useSyncExternalStore(subscribe, read);
}

/** Gives the address of the chat with `peer`. */
export function hrefOf(peer: UserId): string {
  return `#/${peer}`;
}

/** Opens the chat with `peer`, or none. */
export function go(peer: UserId | undefined): void {
  location.hash = peer === undefined ? '' : hrefOf(peer);
}
