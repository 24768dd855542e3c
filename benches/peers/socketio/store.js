// What is kept, and how it is found again. Queries have names, so that PostgreSQL plans each once a
// connection.

import pg from 'pg';

/** Messages of a page, of history and of what was missed. */
export const PAGE = 50;

const TABLES = `
  create table if not exists users (
    name text primary key,
    password text not null,
    last_seen timestamptz
  );
  create table if not exists sessions (
    token text primary key,
    name text not null,
    since timestamptz not null default now()
  );
  create table if not exists messages (
    id bigint generated always as identity primary key,
    sender text not null,
    receiver text not null,
    text text not null,
    at timestamptz not null default now(),
    ref text not null
  );
  create table if not exists marks (
    reader text not null,
    peer text not null,
    delivered bigint not null default 0,
    read bigint not null default 0,
    primary key (reader, peer)
  );
  -- A message that is sent again is the same message.
  create unique index if not exists messages_ref on messages (sender, ref);
  -- History of two people.
  create index if not exists messages_pair
    on messages (least(sender, receiver), greatest(sender, receiver), id);
  -- What a device has missed.
  create index if not exists messages_sender on messages (sender, id);
  create index if not exists messages_receiver on messages (receiver, id);
`;

const MESSAGE = 'id, sender as "from", receiver as "to", text, at';

const QUERIES = {
  addUser: 'insert into users (name, password) values ($1, $2) on conflict do nothing',
  passwordOf: 'select password from users where name = $1',
  addSession: 'insert into sessions (token, name) values ($1, $2)',
  sessionName: 'select name from sessions where token = $1',
  seen: 'update users set last_seen = now() where name = $1',
  lastSeen: 'select last_seen from users where name = $1',
  // Adds nothing where nobody has that name, and where the message is there.
  addMessage: `insert into messages (sender, receiver, text, ref)
    select $1, name, $3, $4 from users where name = $2
    on conflict (sender, ref) do nothing returning ${MESSAGE}`,
  byRef: 'select id from messages where sender = $1 and ref = $2',
  newest: `select greatest(
    (select max(id) from messages where sender = $1),
    (select max(id) from messages where receiver = $1)) as id`,
  missed: `select ${MESSAGE} from (
      (select * from messages where sender = $1 and id > $2 order by id limit $3)
      union (select * from messages where receiver = $1 and id > $2 order by id limit $3)
    ) as missed order by id limit $3`,
  history: `select ${MESSAGE} from messages
    where least(sender, receiver) = least($1, $2) and greatest(sender, receiver) = greatest($1, $2)
      and id < $3
    order by id desc limit $4`,
  mark: `insert into marks (reader, peer, delivered, read) values ($1, $2, $3, $4)
    on conflict (reader, peer) do update set
      delivered = greatest(marks.delivered, excluded.delivered),
      read = greatest(marks.read, excluded.read)
    returning delivered, read`,
};

// A bigint comes as a string, since a number cannot hold all of them; it holds nine quadrillion.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

export class Store {
  #pool;

  constructor(pool) {
    this.#pool = pool;
  }

  createTables() {
    return this.#pool.query(TABLES);
  }

  async #rows(name, ...values) {
    return (await this.#pool.query({ name, text: QUERIES[name], values })).rows;
  }

  /** Adds a user; false if there is one of that name. */
  async addUser(name, password) {
    const values = [name, password];
    return (
      (await this.#pool.query({ name: 'addUser', text: QUERIES.addUser, values })).rowCount === 1
    );
  }

  async passwordOf(name) {
    return (await this.#rows('passwordOf', name))[0]?.password;
  }

  addSession(token, name) {
    return this.#rows('addSession', token, name);
  }

  async sessionName(token) {
    return (await this.#rows('sessionName', token))[0]?.name;
  }

  seen(name) {
    return this.#rows('seen', name);
  }

  async lastSeen(name) {
    return (await this.#rows('lastSeen', name))[0]?.last_seen;
  }

  /** Adds a message once: gives it, or only its id if it was there, or nothing: no such receiver. */
  async addMessage(from, { to, text, ref }) {
    const [message] = await this.#rows('addMessage', from, to, text, ref);
    if (message) return { id: message.id, message };
    return (await this.#rows('byRef', from, ref))[0];
  }

  /** Gives the id of the newest message of a user, or 0. */
  async newest(name) {
    return (await this.#rows('newest', name))[0].id ?? 0;
  }

  /** Gives the next page of what a user sent and got after a message, oldest first. */
  missed(name, after) {
    return this.#rows('missed', name, after, PAGE);
  }

  /** Gives a page of what two users wrote before a message, newest first. */
  history(name, peer, before) {
    return this.#rows('history', name, peer, before, PAGE);
  }

  /** Moves marks forward; gives where they are. */
  async mark(reader, peer, delivered, read) {
    return (await this.#rows('mark', reader, peer, delivered, read))[0];
  }
}
