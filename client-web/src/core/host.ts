/**
 * What the parts of a client share: the state, the way to change it, and the way to the server.
 */

import type { ClientFrame } from '../wire.ts';
import type { Action } from './reducer.ts';
import type { State } from './state.ts';

/** What a part of the client may use. */
export interface Host {
  state(): State;
  dispatch(action: Action): void;
  /** Writes to the socket; false when no session is open. */
  send(frame: ClientFrame): boolean;
}
