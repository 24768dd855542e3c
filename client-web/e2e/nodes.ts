/**
 * Nodes of one cluster over a real RabbitMQ and a real Cassandra, and people who are at home where
 * a test wants them.
 *
 * `RALLY_TEST_AMQP` and `RALLY_TEST_CASSANDRA` name the services; without, those on this machine
 * are taken. Knows nothing of browsers.
 */

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { Server } from './server.ts';

/** Somebody with an account. */
export interface Account {
  readonly user: string;
  readonly password: string;
  readonly token: string;
}

/** How many accounts may be made until one is at home where it should be. */
const TRIES = 60;

const PASSWORD = 'rally-demo';

/** Where a node listens. */
interface Place {
  readonly listen: string;
  readonly gossip: string;
}

/** Finds ports that are free now, all at once so that none is found twice. */
async function free(count: number): Promise<Place[]> {
  const held = await Promise.all(
    Array.from({ length: count }, async () => {
      const tcp = createServer();
      await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done));
      const udp = createSocket('udp4');
      await new Promise<void>((done) => udp.bind(0, '127.0.0.1', done));
      return { tcp, udp };
    }),
  );
  return held.map(({ tcp, udp }) => {
    const address = tcp.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const place = { listen: `127.0.0.1:${port}`, gossip: `127.0.0.1:${udp.address().port}` };
    tcp.close();
    udp.close();
    return place;
  });
}

/** Asks a node as a program does. */
async function ask(node: Server, path: string, body: unknown, token?: string): Promise<Response> {
  return fetch(`${node.url}api/${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
}

/** The nodes of a cluster. */
export class Nodes {
  readonly all: readonly Server[];

  private constructor(all: readonly Server[]) {
    this.all = all;
  }

  /** Starts this many nodes, and returns when all are ready. */
  static async start(count: number): Promise<Nodes> {
    const places = await free(count);
    const mark = randomBytes(4).toString('hex');
    const services = [
      ['--amqp-url', process.env.RALLY_TEST_AMQP],
      ['--cassandra', process.env.RALLY_TEST_CASSANDRA],
    ].flatMap(([flag, value]) => (value === undefined ? [] : [`${flag}=${value}`]));
    const starting = places.map(({ listen, gossip }, index) =>
      Server.start(
        [
          `--node=node-${index}`,
          `--public-url=http://${listen}`,
          `--gossip-listen=${gossip}`,
          `--seeds=${places.map((place) => place.gossip).join(',')}`,
          `--cluster=e2e_${mark}`,
          '--store=cassandra',
          '--cassandra-keyspace=rally_e2e',
          '--cassandra-replication=1',
          '--broker=rabbitmq',
          '--rate-registers-per-minute-address=100000',
          '--rate-logins-per-minute-address=100000',
          ...services,
        ],
        listen,
      ),
    );
    return new Nodes(await Promise.all(starting));
  }

  /** Gives a node by its number. */
  node(index: number): Server {
    const node = this.all[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }

  /** Tells on which node a client of somebody's is placed, as a node has it. */
  static async placed(asked: Server, { token }: Account): Promise<string | undefined> {
    const answer = await ask(asked, 'discover', { client: crypto.randomUUID() }, token);
    if (!answer.ok) return undefined;
    return ((await answer.json()) as { node: string }).node;
  }

  /** Makes an account, by way of a node. */
  static async account(node: Server): Promise<Account> {
    const user = `u${randomBytes(6).toString('hex')}`;
    const made = await ask(node, 'register', { user, password: PASSWORD });
    if (!made.ok) throw new Error(await made.text());
    const entered = await ask(node, 'login', { user, password: PASSWORD, bearer: true });
    const { token } = (await entered.json()) as { token: string };
    return { user, password: PASSWORD, token };
  }

  /** Makes accounts until one is placed as wanted. */
  static async accountWhere(
    node: Server,
    fits: (account: Account) => Promise<boolean>,
  ): Promise<Account> {
    for (let tried = 0; tried < TRIES; tried += 1) {
      const account = await Nodes.account(node);
      if (await fits(account)) return account;
    }
    throw new Error(`none of ${TRIES} accounts is at home where it should be`);
  }

  /** Ends all of them. */
  async remove(): Promise<void> {
    await Promise.all(this.all.map((node) => node.remove()));
  }
}
