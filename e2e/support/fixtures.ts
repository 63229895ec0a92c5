/** Playwright's `test` with a dashboard of its own for every worker, whose log is attached to what fails. */
import { type APIRequestContext, test as base, expect, type Page } from '@playwright/test'
import { Dashboard } from './server.ts'

export const ADMIN = { name: 'admin', password: 'correct horse battery' } as const

interface TestFixtures {
  /** Attaches the dashboard's log to a failing test. */
  evidence: undefined
  /** A page whose browser context is signed in as the administrator. */
  adminPage: Page
}
interface WorkerFixtures {
  dashboard: Dashboard
}

export const test = base.extend<TestFixtures, WorkerFixtures>({
  dashboard: [
    // Playwright takes the fixtures used from the destructured parameter.
    // biome-ignore lint/correctness/noEmptyPattern: there are none
    async ({}, use) => {
      const dashboard = await Dashboard.start()
      await use(dashboard)
      await dashboard.dispose()
    },
    { scope: 'worker', timeout: 90_000 },
  ],
  baseURL: async ({ dashboard }, use) => use(dashboard.url),
  evidence: [
    async ({ dashboard }, use, testInfo) => {
      const from = dashboard.log.length
      await use(undefined)
      if (testInfo.status !== testInfo.expectedStatus) {
        await testInfo.attach('dashboard.log', { body: dashboard.log.slice(from), contentType: 'text/plain' })
      }
    },
    { auto: true },
  ],
  adminPage: async ({ page, dashboard }, use) => {
    await signIn(page.request, dashboard)
    await use(page)
  },
})

/** Signs a browser context in as the administrator, who is created by the setup code when there is none yet. */
export async function signIn(request: APIRequestContext, dashboard: Dashboard): Promise<void> {
  const headers = { origin: dashboard.url }
  const session = await request.get(`${dashboard.url}/api/v1/session`)
  expect(session.ok(), await session.text()).toBe(true)
  const { setupNeeded } = await session.json()
  const answer = setupNeeded
    ? await request.post(`${dashboard.url}/api/v1/setup`, { headers, data: { ...ADMIN, code: dashboard.setupCode } })
    : await request.post(`${dashboard.url}/api/v1/session`, { headers, data: ADMIN })
  expect(answer.ok(), await answer.text()).toBe(true)
}

export { expect }
