// Names, passwords and log-ins.

import { createHash, randomBytes, scrypt as scryptCallback, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const scrypt = promisify(scryptCallback);

/** Node's own default: some 30 ms of a processor for each log-in. */
const USUAL_COST = 16_384;

const BYTES = 32;

export class Accounts {
  #store;
  #cost;

  /** `cost` is scrypt's N, a power of two. A stored hash keeps the one it was made with. */
  constructor(store, cost = USUAL_COST) {
    this.#store = store;
    this.#cost = Number(cost);
    if (!Number.isInteger(Math.log2(this.#cost)) || this.#cost < 2) {
      throw new Error(`SCRYPT_COST=${cost}: it must be a power of two`);
    }
  }

  /** Makes an account; false if there is one of that name. */
  async register(name, password) {
    const salt = randomBytes(16);
    const hash = await scrypt(password, salt, BYTES, { N: this.#cost });
    const kept = `${this.#cost}:${salt.toString('base64')}:${hash.toString('base64')}`;
    return this.#store.addUser(name, kept);
  }

  /** Gives a token if the password is right. */
  async logIn(name, password) {
    const kept = await this.#store.passwordOf(name);
    if (!kept) return undefined;
    const [cost, salt, hash] = kept.split(':');
    const tried = await scrypt(password, Buffer.from(salt, 'base64'), BYTES, { N: Number(cost) });
    if (!timingSafeEqual(tried, Buffer.from(hash, 'base64'))) return undefined;
    const token = randomBytes(24).toString('base64url');
    await this.#store.addSession(digest(token), name);
    return token;
  }

  /** Gives whose token it is. */
  async nameOf(token) {
    return typeof token === 'string' ? this.#store.sessionName(digest(token)) : undefined;
  }
}

/** Whoever reads the table cannot log in with what stands there. */
const digest = (token) => createHash('sha256').update(token).digest('base64url');
