// A small chat service: Express for logging in, Socket.IO for everything else, PostgreSQL below.
//
// PORT and HOST say where it listens, PostgreSQL's own variables (PGHOST, PGPORT, PGUSER, PGPASSWORD,
// PGDATABASE) where its data is, SCRYPT_COST how dear a password's hash is (accounts.js).

import { createServer } from 'node:http';
import express from 'express';
import pg from 'pg';
import { Server } from 'socket.io';
import { Accounts } from './accounts.js';
import { chat } from './chat.js';
import { Store } from './store.js';

const { HOST = '127.0.0.1', PORT = '3000', SCRYPT_COST } = process.env;

const pool = new pg.Pool();
pool.on('error', (error) =>
  console.error(`an idle connection to PostgreSQL ended: ${error.message}`),
);

const store = new Store(pool);
await store.createTables();
const accounts = new Accounts(store, SCRYPT_COST);

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '10kb' }));

/** Reads name and password out of a request; answers one that lacks them. */
const credentials = (request, response) => {
  const { name, password } = request.body ?? {};
  const strings = typeof name === 'string' && typeof password === 'string';
  if (strings && /^[a-z0-9_]{1,32}$/.test(name) && password.length <= 200) {
    return { name, password };
  }
  response
    .status(400)
    .json({ error: 'name: 1 to 32 of a-z, 0-9 and _; password: up to 200 characters' });
};

app.post('/register', async (request, response) => {
  const given = credentials(request, response);
  if (!given) return;
  const made = await accounts.register(given.name, given.password);
  if (made) response.status(201).json({ name: given.name });
  else response.status(409).json({ error: `the name ${given.name} is taken` });
});

app.post('/login', async (request, response) => {
  const given = credentials(request, response);
  if (!given) return;
  const token = await accounts.logIn(given.name, given.password);
  if (token) response.json({ token });
  else response.status(401).json({ error: 'wrong name or password' });
});

app.use((error, _request, response, _next) => {
  // What a client got wrong is not logged: the parser quotes what it was given, passwords too.
  const status = error.status ?? 500;
  if (status >= 500) console.error(error.message);
  response.status(status).json({ error: 'that did not work' });
});

const server = createServer(app);
const io = new Server(server, { transports: ['websocket'], maxHttpBufferSize: 100_000 });
chat(io, accounts, store);

server.listen(Number(PORT), HOST, () => console.log(`listening on http://${HOST}:${PORT}`));

const stop = () => io.close(() => pool.end().then(() => process.exit(0)));
process.once('SIGINT', stop);
process.once('SIGTERM', stop);
