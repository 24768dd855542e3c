/** How the connection stands, when there is something to know about it. */

import { type ReactNode, useEffect, useState } from 'react';
import type { Ending, Status } from '../core/state.ts';
import { useClientState, useShared } from './shared.ts';

/** What passes sooner is not worth a word. */
const PATIENCE_MS = 600;

/** Gives `value` once it has stayed the same for a while. */
function useSettled<T>(value: T): T | undefined {
  const [settled, setSettled] = useState<T>();
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled === value ? settled : undefined;
}

/** Shows the state of the connection. */
export function Banner() {
  const { client } = useShared().session;
  const { status } = useClientState();
  const lasting = useSettled(status.phase);
  const shown = lasting === status.phase || status.phase === 'ended' ? status : undefined;
  return (
    <div className="connection" role="status" aria-label="Connection">
      {shown && (
        <Words status={shown} retry={() => client.wake()} reload={() => location.reload()} />
      )}
    </div>
  );
}

interface Ways {
  readonly retry: () => void;
  readonly reload: () => void;
}

function Words({ status, ...ways }: { readonly status: Status } & Ways) {
  switch (status.phase) {
    case 'live':
      return null;
    case 'connecting':
      return <Line text="Connecting…" />;
    case 'catching_up':
      return <Line text="Reading what you missed…" />;
    case 'waiting':
      return (
        <Line text="Offline. What you write is sent when the connection is back.">
          <button type="button" onClick={ways.retry}>
            Try now
          </button>
        </Line>
      );
    case 'ended':
      return <Ended why={status.why} {...ways} />;
  }
}

function Ended({ why, reload }: { readonly why: Ending } & Ways) {
  switch (why) {
    case 'replaced':
      // Another tab may send by now what this one meant: a page that is loaded has what is its own.
      return (
        <Line text="These chats are open in another window.">
          <button type="button" onClick={reload}>
            Use here
          </button>
        </Line>
      );
    case 'logged_out':
      // Chats.tsx has a page for it.
      return null;
    case 'protocol':
      return (
        <Line text="This page does not understand the server.">
          <button type="button" onClick={reload}>
            Load it again
          </button>
        </Line>
      );
  }
}

function Line({ text, children }: { readonly text: string; readonly children?: ReactNode }) {
  return (
    <div className="banner">
      <p>{text}</p>
      {children}
    </div>
  );
}
