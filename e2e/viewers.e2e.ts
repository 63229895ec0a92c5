import type { Browser, Page } from '@playwright/test'
import type { Person } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'
import { Screen } from './support/screen.ts'
import type { Dashboard } from './support/server.ts'
import { Terminal } from './support/terminal.ts'

const VM = 'watched guest'
const VIEWER: Person = { name: 'vera', password: 'only here to watch' }
const OPERATOR: Person = { name: 'olaf', password: 'runs his own guests' }

/** A browser of their own, signed in on the sign-in page. */
async function pageOf(browser: Browser, dashboard: Dashboard, person: Person): Promise<Page> {
  const context = await browser.newContext({ baseURL: dashboard.url })
  const page = await context.newPage()
  await page.goto('/vms')
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible()
  await page.getByLabel('Name').fill(person.name)
  await page.getByLabel('Password').fill(person.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { name: 'Virtual machines', level: 1 })).toBeVisible()
  return page
}

test('two people see one screen, and only who may control it types into it', async ({
  adminPage,
  api,
  browser,
  dashboard,
}) => {
  test.setTimeout(180_000)
  const vm = await api.startGuest(VM)
  await api.createPerson(VIEWER, 'viewer')
  const guest = await GuestLine.open(api, vm.id)
  await adminPage.goto(`/vms/${vm.id}/console`)
  const viewerPage = await pageOf(browser, dashboard, VIEWER)
  const [adminScreen, viewerScreen] = [new Screen(adminPage, VM), new Screen(viewerPage, VM)]

  await test.step('both see it', async () => {
    await viewerPage.getByRole('link', { name: VM }).click()
    await viewerPage.getByRole('link', { name: 'Console', exact: true }).click()
    await guest.booted()
    await adminScreen.isLit()
    await viewerScreen.isLit()
    const present = adminPage.getByRole('list', { name: 'At this console' }).getByRole('listitem')
    await expect(present.filter({ hasText: VIEWER.name })).toContainText('only watching')
  })

  await test.step('the viewer is told what is not possible and why', async () => {
    const may = 'Your role may watch, not control.'
    const toolbar = viewerPage.getByRole('toolbar', { name: 'Console tools' })
    await expect(toolbar.getByRole('switch', { name: 'Control' })).not.toBeChecked()
    await expect(toolbar.getByRole('switch', { name: 'Control' })).toBeDisabled()
    await expect(toolbar.getByRole('switch', { name: 'Control' })).toHaveAccessibleDescription(may)
    for (const name of ['Keys', 'Type text']) {
      await expect(toolbar.getByRole('button', { name })).toBeDisabled()
      await expect(toolbar.getByRole('button', { name })).toHaveAccessibleDescription('You are only watching.')
    }
    const shutDown = viewerPage.getByRole('button', { name: 'Shut down' })
    await expect(shutDown).toBeDisabled()
    await expect(shutDown).toHaveAccessibleDescription('You may look but not change.')
  })

  await test.step("the viewer's keys do not arrive, the administrator's do, and both see what they do", async () => {
    await viewerScreen.type('touch /tmp/from-viewer')
    const [forAdmin, forViewer] = [await adminScreen.look(), await viewerScreen.look()]
    await adminScreen.type('touch /tmp/from-admin')
    await expect.poll(() => guest.command('ls /tmp/from-admin'), { timeout: 30_000 }).toBe('/tmp/from-admin')
    await adminScreen.changedSince(forAdmin)
    await viewerScreen.changedSince(forViewer)
    expect(await guest.command('ls /tmp')).not.toContain('from-viewer')
  })

  await test.step('nor do they on the serial console', async () => {
    await viewerPage.getByRole('button', { name: 'Serial', exact: true }).click()
    const terminal = new Terminal(viewerPage, VM)
    await expect(terminal.line('guest#')).toBeVisible()
    await terminal.type('touch /tmp/from-viewer')
    expect(await guest.command('echo sent by $((40 + 2))')).toBe('sent by 42')
    await expect(terminal.line('sent by 42')).toBeVisible()
    expect(await guest.command('ls /tmp')).not.toContain('from-viewer')
  })
  guest.close()
  await viewerPage.context().close()
})

test("an operator sees their own guests, and of somebody else's nothing at all", async ({
  api,
  browser,
  dashboard,
}) => {
  const vm = await api.createVm({ name: 'not for olaf', memoryMiB: 32, disks: [], networks: [] })
  await api.createPerson(OPERATOR, 'operator')
  const page = await pageOf(browser, dashboard, OPERATOR)
  await expect(page.getByText('No virtual machines yet')).toBeVisible()
  for (const path of ['', '/console', '/definition', '/activity']) {
    await page.goto(`/vms/${vm.id}${path}`)
    await expect(page.getByText('There is nothing here')).toBeVisible()
    await expect(page.getByText('not for olaf')).toHaveCount(0)
  }
  await page.goto(`/window/${vm.id}`)
  await expect(page.getByText('There is nothing here')).toBeVisible()
  await page.context().close()
})
