// Browser tests against the real server. RALLY_SERVER_BIN names its binary, RALLY_CHROMIUM the
// browser; without that, the one that Playwright has installed is used.
import { defineConfig } from '@playwright/test';

const executablePath = process.env.RALLY_CHROMIUM;

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results',
  timeout: 120_000,
  expect: { timeout: 15_000 },
  workers: 2,
  fullyParallel: true,
  forbidOnly: true,
  reporter: 'list',
  use: {
    browserName: 'chromium',
    actionTimeout: 15_000,
    launchOptions: {
      args: ['--no-sandbox'],
      ...(executablePath !== undefined && { executablePath }),
    },
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
  },
});
