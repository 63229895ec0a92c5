import { defineConfig, devices } from '@playwright/test'

const report = process.env.GUESTDECK_E2E_REPORT

/**
 * A real browser against the real server and real guests. Two workers, each with a dashboard and a browser of its own:
 * while one waits for a guest or a clock the other goes on. No more, as guests under TCG take a whole processor each.
 * `GUESTDECK_CHROMIUM` names the browser; `GUESTDECK_E2E_REPORT` where the counts for `npm test` go.
 */
export default defineConfig({
  testDir: 'e2e',
  testMatch: '**/*.e2e.ts',
  outputDir: 'test-results',
  workers: 2,
  fullyParallel: false,
  forbidOnly: process.env.CI !== undefined,
  // `npm test` names what passed only on its second attempt.
  retries: process.env.CI ? 1 : 0,
  timeout: 120_000,
  globalTimeout: 60 * 60_000,
  expect: { timeout: 15_000 },
  reporter: [['list'], ...(report ? ([['json', { outputFile: report }]] as const) : [])],
  use: {
    actionTimeout: 15_000,
    navigationTimeout: 30_000,
    // Recording costs a third of the time of every test: where there is a second attempt, that one is recorded.
    trace: process.env.CI ? 'on-first-retry' : 'retain-on-failure',
    screenshot: 'only-on-failure',
    locale: 'en-GB',
    timezoneId: 'UTC',
  },
  projects: [
    {
      name: 'chromium',
      use: {
        ...devices['Desktop Chrome'],
        launchOptions: {
          executablePath: process.env.GUESTDECK_CHROMIUM ?? '/usr/bin/chromium',
          args: [
            // Chromium refuses its own sandbox as root, and containers have no user namespaces for it.
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
          ],
        },
      },
    },
  ],
})
