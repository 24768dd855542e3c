/** Log in or register: one form with a switch, and the demo's users by one click. */

import { type FormEvent, useEffect, useState } from 'react';
import type { Api, Config } from '../core/api.ts';
import type { UserId } from '../wire.ts';
import { Avatar } from './Avatar.tsx';

/** Shows the form; `entered` hears that somebody logged in, and tells whether that was kept. */
export function LogIn(props: {
  readonly api: Api;
  readonly config: Config;
  readonly entered: () => Promise<boolean>;
}) {
  const { api, config, entered } = props;
  const [isNew, setIsNew] = useState(false);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string>();
  useEffect(() => {
    document.title = 'Rally';
  }, []);

  const go = async (enter: () => Promise<void>) => {
    setBusy(true);
    setWrong(undefined);
    try {
      await enter();
      if (!(await entered())) {
        setWrong('Your browser did not keep the log-in: allow this page to use cookies.');
      }
    } catch (error) {
      setWrong(error instanceof Error ? error.message : String(error));
    }
    setBusy(false);
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const text = (name: string) => String(fields.get(name) ?? '');
    const user = text('user').trim().toLowerCase();
    void go(() =>
      isNew
        ? api.register(user, text('name').trim(), text('password'))
        : api.login(user, text('password')),
    );
  };

  return (
    <main className="log-in">
      <form onSubmit={submit}>
        <h1>
          <img src="/icon.svg" alt="" width="40" height="40" />
          Rally
        </h1>
        <label>
          User name
          <input
            name="user"
            autoComplete="username"
            autoCapitalize="none"
            spellCheck={false}
            required
            maxLength={32}
            pattern="[a-zA-Z0-9][a-zA-Z0-9_.\-]*"
            title="Letters, digits, and _ . - after the first"
          />
        </label>
        {isNew && (
          <label>
            Name shown to others (optional)
            <input name="name" autoComplete="name" maxLength={64} />
          </label>
        )}
        <label>
          Password
          <input
            name="password"
            type="password"
            autoComplete={isNew ? 'new-password' : 'current-password'}
            required
            minLength={isNew ? 8 : undefined}
          />
        </label>
        {wrong !== undefined && (
          <p className="wrong" role="alert">
            {wrong}
          </p>
        )}
        <button type="submit" className="main" disabled={busy}>
          {isNew ? 'Create account' : 'Log in'}
        </button>
        {config.registration && (
          <button type="button" className="link" onClick={() => setIsNew(!isNew)}>
            {isNew ? 'I have an account' : 'Create an account'}
          </button>
        )}
      </form>
      {config.demo && (
        <Demo
          demo={config.demo}
          busy={busy}
          choose={(user, password) => void go(() => api.login(user, password))}
        />
      )}
    </main>
  );
}

function Demo(props: {
  readonly demo: NonNullable<Config['demo']>;
  readonly busy: boolean;
  readonly choose: (user: UserId, password: string) => void;
}) {
  const { demo, busy, choose } = props;
  return (
    <section className="demo" aria-labelledby="demo">
      <h2 id="demo">Try it as</h2>
      <ul>
        {demo.users.map(({ user, name }) => (
          <li key={user}>
            <button type="button" disabled={busy} onClick={() => choose(user, demo.password)}>
              <Avatar user={user} name={name} />
              {name}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
