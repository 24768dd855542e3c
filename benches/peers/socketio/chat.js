// What a connected device may say, and what it hears.
//
// Each user has a room that all devices of his are in. A message is acknowledged and told to others
// after PostgreSQL has it.

import { PAGE } from './store.js';

const MOST_TEXT = 60_000;

const userRoom = (name) => `user:${name}`;
const watchRoom = (name) => `watch:${name}`;

const isName = (value) => typeof value === 'string' && value.length > 0 && value.length <= 32;
const isText = (value, most) =>
  typeof value === 'string' && value.length > 0 && value.length <= most;
const isId = (value) => Number.isSafeInteger(value) && value >= 0;

/** Serves all sockets of a server. */
export function chat(io, accounts, store) {
  /** Devices that are there, by user. */
  const devices = new Map();

  io.use(async (socket, next) => {
    try {
      const { token } = socket.handshake.auth;
      socket.data.name = await accounts.nameOf(token);
      next(socket.data.name ? undefined : new Error('log in first'));
    } catch (error) {
      console.error(error.message);
      next(new Error('that did not work'));
    }
  });

  io.on('connection', (socket) => {
    const { name } = socket.data;

    /** Listens for an event; a failure is told to whoever wants an answer, and ends nothing. */
    const on = (event, listener) =>
      socket.on(event, async (data, answer) => {
        const reply = typeof answer === 'function' ? answer : () => {};
        try {
          reply(await listener(data ?? {}));
        } catch (error) {
          console.error(`${event}: ${error.message}`);
          reply({ error: 'internal' });
        }
      });

    const send = async ({ to, text, ref }) => {
      if (!isName(to) || !isText(text, MOST_TEXT) || !isText(ref, 64)) return { error: 'invalid' };
      const added = await store.addMessage(name, { to, text, ref });
      if (!added) return { error: 'unknown_user' };
      // This device gets the id by the answer.
      if (added.message) {
        socket.to(userRoom(name)).to(userRoom(to)).emit('message', added.message);
      }
      return { id: added.id };
    };

    // One after the other: two connections of the pool would store them in any order.
    let sending = Promise.resolve();
    on('send', (data) => {
      const sent = sending.then(() => send(data));
      sending = sent.catch(() => {});
      return sent;
    });

    on('history', async ({ peer, before = Number.MAX_SAFE_INTEGER }) => {
      if (!isName(peer) || !isId(before)) return { error: 'invalid' };
      return { messages: await store.history(name, peer, before) };
    });

    on('mark', async ({ peer, delivered = 0, read = 0 }) => {
      if (!isName(peer) || !isId(delivered) || !isId(read)) return { error: 'invalid' };
      const marks = await store.mark(name, peer, delivered, read);
      socket
        .to(userRoom(name))
        .to(userRoom(peer))
        .emit('receipt', { reader: name, peer, ...marks });
      return marks;
    });

    on('typing', ({ to }) => {
      if (isName(to)) io.to(userRoom(to)).volatile.emit('typing', { from: name });
    });

    on('watch', async ({ user }) => {
      if (!isName(user)) return { error: 'invalid' };
      socket.join(watchRoom(user));
      if (devices.has(user)) return { user, online: true };
      return { user, online: false, lastSeen: await store.lastSeen(user) };
    });

    on('unwatch', ({ user }) => {
      if (isName(user)) socket.leave(watchRoom(user));
    });

    socket.on('disconnect', async () => {
      const left = devices.get(name) - 1;
      if (left > 0) {
        devices.set(name, left);
        return;
      }
      devices.delete(name);
      io.to(watchRoom(name)).emit('presence', { user: name, online: false, lastSeen: new Date() });
      await store.seen(name).catch((error) => console.error(`last seen: ${error.message}`));
    });

    // In his room before what was missed is read: whatever is stored in between comes by the one
    // way or the other, or by both, and a client knows messages by their ids.
    socket.join(userRoom(name));
    devices.set(name, (devices.get(name) ?? 0) + 1);
    if (devices.get(name) === 1)
      io.to(watchRoom(name)).emit('presence', { user: name, online: true });
    catchUp(socket, store).catch((error) => {
      console.error(`catching up: ${error.message}`);
      socket.disconnect(true);
    });
  });
}

/** Sends what a device has missed since `auth.cursor`, the newest id it knew, then where it is. */
async function catchUp(socket, store) {
  const { name } = socket.data;
  let { cursor } = socket.handshake.auth;
  if (isId(cursor)) {
    for (let page = [null]; page.length > 0 && socket.connected; ) {
      page = await store.missed(name, cursor);
      if (page.length > 0) {
        socket.emit('missed', page);
        cursor = page.at(-1).id;
      }
      if (page.length < PAGE) break;
    }
  } else {
    cursor = await store.newest(name);
  }
  socket.emit('ready', { cursor });
}
