/** Gives each test a server of its own, and browsers that share nothing. */

import { type Browser, test as base } from '@playwright/test';
import { Server } from './server.ts';
import { Tab } from './tab.ts';

/** What a test is given. */
export interface Given {
  readonly server: Server;
  /** Logs somebody in, in a browser of his own. */
  readonly enter: (name: string) => Promise<Tab>;
}

async function entering(browser: Browser, server: Server, name: string): Promise<Tab> {
  return Tab.logIn(await browser.newContext(), server, name);
}

/** A test that runs against a server. */
export const test = base.extend<Given>({
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads what is needed from the pattern
  server: async ({}, use) => {
    const server = await Server.start();
    await use(server);
    await server.remove();
  },
  enter: async ({ browser, server }, use) => {
    await use((name) => entering(browser, server, name));
  },
});
