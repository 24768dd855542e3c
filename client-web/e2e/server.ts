/**
 * A real server of one test: its own process, data folder and port.
 *
 * Knows nothing of browsers.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const BINARY = process.env.RALLY_SERVER_BIN ?? '../target/debug/rally-server';

/** How long a server may take to say that it is ready. */
const READY_MS = 30_000;

/** A server with its data folder. */
export class Server {
  readonly #folder: string;
  #process: ChildProcess | undefined;
  #address = '';

  readonly #flags: readonly string[];

  private constructor(folder: string, flags: readonly string[]) {
    this.#folder = folder;
    this.#flags = flags;
  }

  /** Starts a server on an empty folder: one of the demo on a free port, unless told otherwise. */
  static async start(
    flags: readonly string[] = ['--demo'],
    listen = '127.0.0.1:0',
  ): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), 'rally-e2e-')), flags);
    await server.#run(listen);
    return server;
  }

  /** Gives the address of its page. */
  get url(): string {
    return `http://${this.#address}/`;
  }

  async #run(listen: string): Promise<void> {
    const flags = [...this.#flags, '--listen', listen, '--data-dir', this.#folder];
    // The server takes every RALLY_ variable for a setting, and those of the tests are none.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('RALLY_')),
    );
    const child = spawn(BINARY, flags, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#process = child;
    const log: string[] = [];
    child.stderr?.on('data', (chunk) => log.push(String(chunk)));
    this.#address = await new Promise((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new Error(`${BINARY} ${why}\n${log.join('')}`));
      };
      const timer = setTimeout(() => fail('was not ready in time'), READY_MS);
      child.once('error', (error) => fail(error.message));
      child.once('exit', (code) => fail(`ended with ${code} before it was ready`));
      createInterface({ input: child.stdout }).on('line', (line) => {
        const ready = /^Rally is ready at http:\/\/(\S+)/.exec(line);
        if (ready?.[1] === undefined) return;
        clearTimeout(timer);
        resolve(ready[1]);
      });
    });
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  /** Kills it without a word, as a power cut would. */
  async dies(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Starts it again, on the same data and the same port. */
  async returns(): Promise<void> {
    await this.#run(this.#address);
  }

  /** Ends it and deletes its data. */
  async remove(): Promise<void> {
    await this.#end('SIGKILL');
    await rm(this.#folder, { recursive: true, force: true });
  }
}
