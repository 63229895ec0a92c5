import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, renameSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { ensureGuestIso } from '#e2e/guests/build.ts'
import { CACHE_DIR } from '#e2e/guests/cache.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'

async function listen(port: number): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

async function freePort(): Promise<number> {
  const server = await listen(0)
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('no TCP address')
  return address.port
}

test('a start whose image has gone says which file, why, and what to do; once mended it starts', async ({
  adminPage: page,
  api,
}) => {
  const file = join(CACHE_DIR, `e2e-${randomUUID()}.iso`)
  copyFileSync(await ensureGuestIso(), file)
  try {
    const image = await api.registerImage(file, 'fleeting.iso')
    const vm = await api.createVm({ ...EMPTY_MACHINE, name: 'hasty', disks: [{ device: 'cdrom', image: image.id }] })
    await page.goto(`/vms/${vm.id}`)
    const main = page.getByRole('main')
    await expect(main.getByText('Off', { exact: true })).toBeVisible()

    renameSync(file, `${file}.away`)
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    const notice = page.getByRole('region', { name: 'Notifications' })
    await expect(notice.getByText('hasty did not start')).toBeVisible()
    await expect(notice.getByText(/fleeting\.iso has gone or changed .*Put it back, or choose another/)).toBeVisible()
    await expect(main.getByText('Off', { exact: true })).toBeVisible()
    expect(api.dashboard.guestPid(vm.id)).toBeNull()

    renameSync(`${file}.away`, file)
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await expect(main.getByText('Running', { exact: true })).toBeVisible({ timeout: 30_000 })
  } finally {
    rmSync(file, { force: true })
    rmSync(`${file}.away`, { force: true })
  }
})

test('a start from the create page whose port is taken returns to the filled form, says why, and can be mended', async ({
  adminPage: page,
}) => {
  const hostPort = await freePort()
  const stranger = await listen(hostPort)
  await page.goto('/vms/new')
  await page.getByText('Nothing', { exact: true }).click()
  const name = page.getByLabel('Name', { exact: true })
  await name.fill('forwarded')
  await page.getByRole('spinbutton', { name: 'Memory' }).fill('64')
  await page.getByRole('button', { name: 'Forward a port' }).click()
  await page.getByRole('spinbutton', { name: 'Host port' }).fill(String(hostPort))
  await page.getByRole('spinbutton', { name: 'Guest port' }).fill('22')
  await page.getByRole('button', { name: 'Create and start' }).click()

  const alert = page.getByRole('main').getByRole('alert')
  await expect(alert).toContainText('forwarded was created, but did not start')
  await expect(alert).toContainText(new RegExp(`Port ${hostPort} .*is taken`))
  await expect(alert).toContainText(/Choose another host port .*or end the program that listens there/)

  await alert.getByRole('button', { name: 'Delete it and edit here' }).click()
  await expect(page.getByText('forwarded was deleted. Everything entered is still here.')).toBeVisible()
  await expect(name).toHaveValue('forwarded')
  await expect(page.getByRole('spinbutton', { name: 'Host port' })).toHaveValue(String(hostPort))

  await page.getByRole('button', { name: 'Create and start' }).click()
  await alert.getByRole('link', { name: 'Open forwarded' }).click()
  const exit = page.getByRole('region', { name: 'How the last run ended' })
  await expect(exit).toContainText(new RegExp(`Port ${hostPort} .*is taken`))
  await expect(exit).toContainText('Choose another host port')

  await new Promise((closed) => stranger.close(closed))
  await page.getByRole('button', { name: 'Start', exact: true }).click()
  await expect(page.getByRole('main').getByText('Running', { exact: true })).toBeVisible({ timeout: 30_000 })
  await expect(exit).toBeHidden()
})

test('the create page says at the field what is wrong with it', async ({ adminPage: page, api }) => {
  await api.createVm({ ...EMPTY_MACHINE, name: 'taken' })
  await page.goto('/vms/new')
  await page.getByText('Nothing', { exact: true }).click()
  const name = page.getByLabel('Name', { exact: true })
  const create = page.getByRole('button', { name: 'Create', exact: true })

  await name.fill('Taken')
  await expect(name).toHaveAttribute('aria-invalid', 'true')
  await expect(name).toHaveAccessibleDescription(/^There is already a VM called taken/)
  await expect(create).toBeDisabled()
  await expect(create).toHaveAccessibleDescription('Mend what is marked first.')

  await name.fill('<b>bold</b>')
  await expect(name).toHaveAccessibleDescription(/Starts with a letter or digit/)
  await expect(create).toBeDisabled()

  await name.fill('free')
  await expect(name).not.toHaveAttribute('aria-invalid', 'true')
  await expect(create).toBeEnabled()
  expect((await api.vms()).map((vm) => vm.name)).toEqual(['taken'])
})
