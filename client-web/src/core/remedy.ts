/**
 * What is done about each error that an intent may be answered with: one table.
 *
 * Knows nothing of lanes.
 */

import type { ErrorCode, ErrorFrame } from '../wire.ts';

/** What is done about an error: stamp anew; wait, since nothing was written; ask again; give up. */
export type Remedy = 'restamp' | 'wait' | 'held' | 'again' | 'fail';

const REMEDIES: { readonly [code in ErrorCode]: Remedy } = {
  bad_frame: 'fail',
  unknown_type: 'fail',
  binary_frame: 'fail',
  hello_expected: 'fail',
  bad_ticket: 'fail',
  too_many_sessions: 'fail',
  text_empty: 'fail',
  text_too_long: 'fail',
  clock: 'restamp',
  ahead: 'wait',
  expired: 'restamp',
  ref_conflict: 'fail',
  held: 'held',
  unknown: 'again',
  rate: 'wait',
  busy: 'wait',
  unreachable: 'fail',
  unknown_conversation: 'fail',
  unknown_message: 'fail',
  message_deleted: 'fail',
  too_many_watches: 'fail',
  internal: 'again',
};

/** Gives what is done; a newer server's code is understood by what the frame says about sending again. */
export function remedyOf({ code, retry }: ErrorFrame): Remedy {
  return REMEDIES[code] ?? (retry ? 'again' : 'fail');
}

/** Tells whether the server holds a conversation for what it refused. */
export function holds(remedy: Remedy): boolean {
  return remedy !== 'fail' && remedy !== 'held';
}
