/** How times are written: in the user's own words and zone. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

/** Gives the number of local midnights between two times. */
function daysBetween(earlier: number, later: number): number {
  const midnight = (ms: number) => {
    const date = new Date(ms);
    return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  };
  return Math.round((midnight(later) - midnight(earlier)) / 86_400_000);
}

/** Tells whether two times fall on one local day. */
export function sameDay(one: number, other: number): boolean {
  return daysBetween(one, other) === 0;
}

/** Writes the time of day. */
export function clock(at: number): string {
  return CLOCK.format(at);
}

/** Writes a day as it stands between messages. */
export function day(at: number, now: number): string {
  const days = daysBetween(at, now);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return days > 1 && days < 7 ? WEEKDAY.format(at) : DATE.format(at);
}

/** Writes when the last message of a conversation came: the time today, else the day. */
export function brief(at: number, now: number): string {
  return sameDay(at, now) ? clock(at) : day(at, now);
}

/** Writes when somebody was last seen. */
export function lastSeen(at: number, now: number): string {
  const days = daysBetween(at, now);
  const when = days === 0 ? 'today' : days === 1 ? 'yesterday' : DATE.format(at);
  return `last seen ${when} at ${clock(at)}`;
}
