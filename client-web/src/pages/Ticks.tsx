/** How far one's own message got: clock, one tick, two ticks, two blue ticks. */

import type { Tick } from '../core/views.ts';

const WORDS: { readonly [tick in Tick]: string } = {
  pending: 'Waiting to be sent',
  failed: 'Not sent',
  sent: 'Sent',
  delivered: 'Delivered',
  read: 'Read',
};

const ONE = 'M2 7l3.5 3.5L12 4';
const TWO = `${ONE}M8.5 10l.5.5L15.5 4`;

const PATHS: { readonly [tick in Tick]: string } = {
  pending: 'M8 1.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM8 4.5v3.2l2 1.3',
  failed: 'M8 3v5.5M8 11.5v.01',
  sent: ONE,
  delivered: TWO,
  read: TWO,
};

/** Draws a tick. */
export function Ticks({ tick }: { readonly tick: Tick }) {
  return (
    <svg className={`tick tick-${tick}`} viewBox="0 0 18 15" role="img" aria-label={WORDS[tick]}>
      <path d={PATHS[tick]} />
    </svg>
  );
}
