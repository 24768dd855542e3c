/**
 * Whether somebody is looking: the page is visible and has the focus, and the newest message is
 * in view. An open tab in the background is not reading.
 */

import { useEffect } from 'react';
import type { Session } from '../session.ts';

/** Keeps a session told of who is looking, of the network's return, and of the page's end. */
export function useAttention({ client, drafts }: Session, atBottom: boolean): void {
  useEffect(() => {
    const attend = () =>
      client.attend({
        visible: document.visibilityState === 'visible',
        focused: document.hasFocus(),
        atBottom,
      });
    attend();
    document.addEventListener('visibilitychange', attend);
    addEventListener('focus', attend);
    addEventListener('blur', attend);
    return () => {
      document.removeEventListener('visibilitychange', attend);
      removeEventListener('focus', attend);
      removeEventListener('blur', attend);
    };
  }, [client, atBottom]);

  useEffect(() => {
    const wake = () => client.wake();
    const keep = () => {
      drafts.keep();
      client.keep();
    };
    addEventListener('online', wake);
    addEventListener('pagehide', keep);
    return () => {
      removeEventListener('online', wake);
      removeEventListener('pagehide', keep);
    };
  }, [client, drafts]);
}
