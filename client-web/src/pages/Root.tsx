/** Decides what is shown: the log-in page, or the chats of whoever is logged in. */

import { useCallback, useEffect, useState } from 'react';
import { Api, type Config } from '../core/api.ts';
import { atATime } from '../core/once.ts';
import { openSession, type Session, whoEnters } from '../session.ts';
import { Chats } from './Chats.tsx';
import { LogIn } from './LogIn.tsx';
import { NoticeList } from './NoticeList.tsx';
import { Notices } from './notices.ts';
import { People } from './people.ts';
import { SharedContext } from './shared.ts';

const api = new Api();
const notices = new Notices();
const people = new People(api);

type Stage =
  | { readonly at: 'beginning' }
  | { readonly at: 'stuck'; readonly why: string }
  | { readonly at: 'log-in'; readonly config: Config }
  | { readonly at: 'chats'; readonly config: Config; readonly session: Session };

/** Two at a time would start two clients. */
const enter = atATime(async (): Promise<Stage> => {
  try {
    const config = await api.config();
    const me = await whoEnters(api);
    if (me === undefined) return { at: 'log-in', config };
    people.meet([me]);
    const session = await openSession(api, me, notices.tell);
    await session.client.start();
    return { at: 'chats', config, session };
  } catch (error) {
    return { at: 'stuck', why: error instanceof Error ? error.message : String(error) };
  }
});

/** Shows the page that fits. */
export function Root() {
  const [stage, setStage] = useState<Stage>({ at: 'beginning' });
  const begin = useCallback(async () => {
    const next = await enter();
    setStage(next);
    return next.at === 'chats';
  }, []);
  const again = () => {
    setStage({ at: 'beginning' });
    void begin();
  };
  useEffect(() => void begin(), [begin]);
  return (
    <>
      <Page stage={stage} begin={begin} again={again} />
      <NoticeList notices={notices} />
    </>
  );
}

function Page(props: {
  readonly stage: Stage;
  readonly begin: () => Promise<boolean>;
  readonly again: () => void;
}) {
  const { stage, begin, again } = props;
  switch (stage.at) {
    case 'beginning':
      return <main className="beginning" aria-busy="true" aria-label="Rally is starting" />;
    case 'stuck':
      return (
        <main className="beginning">
          <p role="alert">{stage.why}</p>
          <button type="button" className="main" onClick={again}>
            Try again
          </button>
        </main>
      );
    case 'log-in':
      return <LogIn api={api} config={stage.config} entered={begin} />;
    case 'chats': {
      const { config, session } = stage;
      return (
        <SharedContext value={{ api, config, session, people, notices }}>
          <Chats />
        </SharedContext>
      );
    }
  }
}
