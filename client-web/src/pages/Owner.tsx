/** Who is logged in, his settings, and the ways out. */

import { useCallback, useState } from 'react';
import { Avatar } from './Avatar.tsx';
import { Answers } from './answers.ts';
import { Confirm, type Question } from './Confirm.tsx';
import { useFresh } from './fresh.ts';
import { Menu } from './Menu.tsx';
import { useShared } from './shared.ts';

/** Shows the head of the inbox. */
export function Owner() {
  const { api, session, notices } = useShared();
  const { me, unsent, wayOut } = session;
  const [hides, setHides] = useState(me.hide_presence);
  const [question, setQuestion] = useState<Question>();
  const [answers] = useState(() => new Answers());
  const load = useCallback(async () => {
    const holds = answers.ask();
    const { hide_presence } = await api.me();
    if (holds()) setHides(hide_presence);
  }, [api, answers]);
  useFresh(load);

  const hide = async (hide_presence: boolean) => {
    try {
      const changed = await api.change({ hide_presence });
      answers.changed();
      setHides(changed.hide_presence);
    } catch (error) {
      notices.failed(error);
    }
  };
  const leave = async (logout: () => Promise<void>) => {
    try {
      await wayOut.take(logout);
    } catch (error) {
      notices.failed(error);
    }
  };
  const askToLeave = async (logout: () => Promise<void>) => {
    const waiting = await unsent();
    if (waiting === 0) return void leave(logout);
    setQuestion({
      title: 'Log out?',
      text: `${waiting} of your changes have not reached the server and would be lost.`,
      yes: 'Log out',
      act: () => void leave(logout),
    });
  };

  return (
    <header className="bar">
      <Avatar user={me.user} name={me.name} />
      <h1>
        <bdi>{me.name}</bdi>
      </h1>
      <Menu
        label="Settings"
        icon="more"
        items={[
          { label: 'Hide when I am online', checked: hides, act: () => void hide(!hides) },
          { label: 'Log out', act: () => void askToLeave(() => api.logout()) },
          {
            label: 'Log out everywhere',
            grave: true,
            act: () => void askToLeave(() => api.logoutEverywhere()),
          },
        ]}
      />
      {question && <Confirm question={question} close={() => setQuestion(undefined)} />}
    </header>
  );
}
