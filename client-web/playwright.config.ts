// Browser tests against the real server. RALLY_SERVER_BIN names its binary, RALLY_CHROMIUM the
// browser; without that, the one that Playwright has installed is used.
import { defineConfig } from '@playwright/test';

const executablePath = process.env.RALLY_CHROMIUM;

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results',
  // Wide, as machines that build at the same time are slow; a test waits for conditions only.
  timeout: 240_000,
  expect: { timeout: 30_000 },
  workers: 2,
  fullyParallel: true,
  forbidOnly: true,
  reporter: 'list',
  use: {
    browserName: 'chromium',
    actionTimeout: 30_000,
    launchOptions: {
      args: ['--no-sandbox'],
      ...(executablePath !== undefined && { executablePath }),
    },
    screenshot: 'only-on-failure',
  },
});
