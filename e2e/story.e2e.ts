import type { Page } from '@playwright/test'
import { ensureGuestIso } from '#e2e/guests/build.ts'
import { Api } from './support/api.ts'
import { ADMIN, test as base, expect } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'
import { Screen } from './support/screen.ts'
import { Dashboard } from './support/server.ts'
import { Terminal } from './support/terminal.ts'

const VM = 'first guest'
const MINUTES = 60_000

/** A dashboard nobody has set up yet, whatever ran before. */
const test = base.extend<object, { dashboard: Dashboard }>({
  dashboard: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright takes the fixtures used from the destructured parameter
    async ({}, use) => {
      const dashboard = await Dashboard.start()
      await use(dashboard)
      await dashboard.dispose()
    },
    { scope: 'worker', timeout: 90_000 },
  ],
})

async function setUp(page: Page, code: string): Promise<void> {
  await page.goto('/')
  await expect(page.getByRole('heading', { name: 'Set up Guestdeck' })).toBeVisible()
  await page.getByLabel('Setup code').fill(code)
  await page.getByLabel('Your name').fill(ADMIN.name)
  await page.getByLabel('Password', { exact: true }).fill(ADMIN.password)
  await page.getByLabel('Password again').fill(ADMIN.password)
  await page.getByRole('button', { name: 'Create administrator' }).click()
  await expect(page.getByRole('heading', { name: 'Overview', level: 1 })).toBeVisible()
}

/** @returns the id of the VM, whose console page is open */
async function createFromIso(page: Page, iso: string): Promise<string> {
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Virtual machines' }).click()
  await page.getByRole('link', { name: 'New VM' }).first().click()
  await page.getByLabel('Choose a file').setInputFiles(iso)
  await expect(page.getByRole('radio', { name: 'tiny-live.iso' })).toBeChecked({ timeout: 30_000 })
  await page.getByLabel('Name', { exact: true }).fill(VM)
  await page.getByRole('spinbutton', { name: 'Memory' }).fill('512')
  await page.getByRole('button', { name: 'Create and start' }).click()
  await page.waitForURL(/\/vms\/[0-9a-f-]{36}\/console/)
  return /\/vms\/([0-9a-f-]{36})\//.exec(page.url())?.[1] ?? ''
}

async function typeIntoScreen(page: Page, text: string): Promise<void> {
  await page.getByRole('button', { name: 'Type text' }).click()
  const dialog = page.getByRole('dialog', { name: `Type text into ${VM}` })
  await dialog.getByLabel('Text', { exact: true }).fill(text)
  await dialog.getByRole('button', { name: 'Type', exact: true }).click()
  await expect(dialog.getByText(/^Typed \d+ keys/)).toBeVisible({ timeout: 30_000 })
  await page.keyboard.press('Escape')
  await expect(dialog).toBeHidden()
}

test('from the setup code to a guest that outlives its dashboard', async ({ page, dashboard }) => {
  test.setTimeout(4 * MINUTES)
  const screen = new Screen(page, VM)
  const terminal = new Terminal(page, VM)
  let vmId = ''
  let guest: GuestLine
  let api: Api

  await test.step('the printed code makes the first administrator', () => setUp(page, dashboard.setupCode))

  await test.step('an ISO is uploaded, and a VM created from it and started, on one page', async () => {
    vmId = await createFromIso(page, await ensureGuestIso())
    api = await Api.signIn(dashboard, ADMIN)
    guest = await GuestLine.open(api, vmId)
  })

  await test.step('the screen shows the guest booting', async () => {
    await screen.isLit()
    const firmware = await screen.look()
    await guest.booted()
    await screen.changedSince(firmware)
  })

  await test.step('what is typed on the screen, the guest does', async () => {
    await screen.type('touch /tmp/typed')
    await expect.poll(() => guest.command('ls /tmp/typed'), { timeout: 30_000 }).toBe('/tmp/typed')
    const before = await screen.look()
    await typeIntoScreen(page, 'echo "this is $(tty)" > /dev/ttyS0\n')
    await guest.expect(/this is \/dev\/tty1/)
    await screen.changedSince(before)
  })

  await test.step('the serial terminal types and shows the answer', async () => {
    await page.getByRole('button', { name: 'Serial', exact: true }).click()
    await expect(terminal.line('guest#')).toBeVisible()
    await terminal.type('echo the answer is $((6 * 7))')
    await expect(terminal.line('the answer is 42')).toBeVisible()
  })

  await test.step('the guest outlives a killed dashboard, and its page finds back by itself', async () => {
    await page.getByRole('button', { name: 'Screen', exact: true }).click()
    await screen.isLit()
    const [pid, loadedAt] = [dashboard.guestPid(vmId), await page.evaluate(() => performance.timeOrigin)]
    expect(pid).not.toBeNull()
    const uptime = Number.parseFloat(await guest.command('cat /proc/uptime'))

    await dashboard.kill9()
    await expect(page.getByText('The connection is lost. Connecting again…')).toBeVisible()
    expect(dashboard.guestPid(vmId)).toBe(pid)
    await dashboard.launch()

    await expect(screen.canvas).toBeVisible({ timeout: 30_000 })
    await screen.isLit()
    expect(await page.evaluate(() => performance.timeOrigin)).toBe(loadedAt)
    expect(dashboard.guestPid(vmId)).toBe(pid)

    guest = await GuestLine.open(api, vmId)
    expect(Number.parseFloat(await guest.command('cat /proc/uptime'))).toBeGreaterThan(uptime)
    expect(await guest.command('ls /tmp/typed')).toBe('/tmp/typed')
    await screen.type('touch /tmp/typed-again')
    await expect.poll(() => guest.command('ls /tmp/typed-again'), { timeout: 30_000 }).toBe('/tmp/typed-again')
  })

  await test.step('a guest that shuts itself down is off, and the page says who did it', async () => {
    await page.getByRole('button', { name: 'Serial', exact: true }).click()
    await expect(terminal.line('guest#')).toBeVisible()
    await terminal.type('poweroff -f')
    await expect(terminal.region.getByText('The guest is off')).toBeVisible({ timeout: 30_000 })
    await expect(terminal.region.getByText('The guest shut itself down.')).toBeVisible()
    expect(dashboard.guestPid(vmId)).toBeNull()
  })

  await test.step('VM and image are deleted', async () => {
    await page.getByRole('button', { name: `More actions for ${VM}` }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await expect(page.getByText('No virtual machines yet')).toBeVisible()
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Images' }).click()
    await page.getByRole('button', { name: 'Delete tiny-live.iso?' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await expect(page.getByText('The library is empty')).toBeVisible()
  })
})
