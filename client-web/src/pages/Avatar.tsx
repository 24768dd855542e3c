/** A round sign for somebody: his initial on a colour of his own. */

import type { UserId } from '../wire.ts';

const COLOURS = 6;

function colourOf(user: UserId): number {
  const mixed = [...user].reduce((sum, letter) => (sum * 41 + letter.charCodeAt(0)) >>> 0, 0);
  return mixed % COLOURS;
}

/** Draws somebody's sign, with a dot when he is online. */
export function Avatar(props: {
  readonly user: UserId;
  readonly name: string;
  readonly online?: boolean;
}) {
  const { user, name, online = false } = props;
  return (
    <span className={`avatar avatar-${colourOf(user)}`}>
      <span aria-hidden="true">{[...name][0]?.toUpperCase()}</span>
      {online && <span className="dot" role="img" aria-label="online" />}
    </span>
  );
}
