/** Playwright's `test` with a dashboard of its own for every worker, whose log is attached to what fails. */
import { type APIRequestContext, test as base, expect, type Page } from '@playwright/test'
import { Api, type Person } from './api.ts'
import { Dashboard } from './server.ts'

export const ADMIN: Person = { name: 'admin', password: 'correct horse battery' }

interface TestFixtures {
  /** Attaches the dashboard's log to a failing test. */
  evidence: undefined
  /** A page whose browser context is signed in as the administrator. */
  adminPage: Page
  /** The administrator's API. After the test all VMs are gone, and whatever else was made through it. */
  api: Api
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
  api: async ({ dashboard }, use) => {
    const api = await Api.signIn(dashboard, ADMIN)
    await use(api)
    await api.removeAll()
  },
  // `api` makes the administrator where there is none.
  adminPage: async ({ page, api }, use) => {
    await signIn(page.request, api.dashboard)
    await use(page)
  },
})

/** Opens a session for a browser context without its sign-in page. */
export async function signIn(request: APIRequestContext, dashboard: Dashboard, person: Person = ADMIN): Promise<void> {
  const url = `${dashboard.url}/api/v1/session`
  const answer = await request.post(url, { headers: { origin: dashboard.url }, data: person })
  expect(answer.ok(), await answer.text()).toBe(true)
}

export { expect }
