/** Snapshots, clones and disks on their pages, on a real host. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Job } from '#lib/schema/job.ts'
import type { Pool, Volume } from '#lib/schema/storage.ts'
import { isAccessible } from './support/accessible.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'

const LONG = { timeout: 60_000 }

test('a snapshot is taken, stands in the tree, is gone back to, and is deleted', async ({ adminPage: page, api }) => {
  test.setTimeout(300_000)
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: 'kept', disks: [{ device: 'disk', sizeGiB: 1 }] })
  await page.goto(`/vms/${vm.id}/snapshots`)
  await page.getByRole('button', { name: 'Take snapshot' }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox', { name: 'Name' }).fill('before')
  await dialog.getByText('Disks alone', { exact: true }).click()
  await dialog.getByRole('button', { name: 'Take snapshot' }).click()
  const tree = page.getByRole('tree', { name: /^Snapshots/ })
  await expect(tree.getByRole('treeitem', { name: /before/ })).toBeVisible(LONG)
  await expect(page.getByText('1 of at most 64')).toBeVisible(LONG)
  await tree.getByRole('treeitem', { name: /before/ }).click()
  await isAccessible(page)
  const details = page.getByRole('region', { name: 'Snapshot before' })
  await details.getByRole('button', { name: 'New VM…' }).click()
  await expect(dialog).toContainText('New VM from the snapshot before of kept')
  await dialog.getByText('Linked', { exact: true }).click()
  await dialog.getByRole('textbox', { name: 'Name', exact: true }).fill('from before')
  await dialog.getByRole('button', { name: 'Make 1 clone' }).click()
  await expect(dialog).toBeHidden(LONG)
  await expect
    .poll(async () => (await api.vms()).find(({ name }) => name === 'from before')?.origin?.snapshot, LONG)
    .toBe('before')
  const made = (await api.vms()).find(({ name }) => name === 'from before')
  await api.send('DELETE', `/vms/${made?.id}?disks=delete`)
  await details.getByRole('button', { name: 'Go back' }).click()
  await expect(dialog).toContainText('Go back to before?')
  await dialog.getByRole('button', { name: 'Go back' }).click()
  await expect(dialog).toBeHidden(LONG)
  await expect(page.getByText('Work on the snapshots of this VM')).toBeHidden(LONG)
  // The page may not have shown yet that there is work: the host knows.
  const isAtWork = async () => (await api.call<{ items: Job[] }>('GET', '/jobs')).items.some((job) => !job.endedAt)
  await expect.poll(isAtWork, LONG).toBe(false)
  await details.getByRole('button', { name: 'Delete' }).click(LONG)
  await dialog.getByRole('button', { name: 'Delete' }).click()
  await expect(page.getByText('No snapshots yet')).toBeVisible(LONG)
  expect((await api.vms()).find(({ name }) => name === 'kept')?.state).toBe('off')
})

test('a VM is cloned from its menu, and says what stands on its disks', async ({ adminPage: page, api }) => {
  test.setTimeout(300_000)
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: 'golden', disks: [{ device: 'disk', sizeGiB: 1 }] })
  await page.goto(`/vms/${vm.id}`)
  await expect(page.getByText('No clone stands on it.')).toBeVisible()
  await page.getByRole('button', { name: /^(More|Actions)/ }).click()
  await page.getByRole('menuitem', { name: 'Clone…' }).click()
  const dialog = page.getByRole('dialog')
  const ownMachine = dialog.getByRole('checkbox', { name: 'Make it a machine of its own' })
  const { allowed, reason } = await api.cleanUpOf(vm.id)
  if (allowed) {
    await ownMachine.check()
    await expect(dialog.getByRole('checkbox', { name: 'SSH host keys' })).toBeChecked()
    await dialog.getByText('What happened there can no longer be looked up').scrollIntoViewIfNeeded()
    await dialog.getByRole('textbox', { name: 'Host name' }).fill('copy-{index}')
    await isAccessible(page)
    await ownMachine.uncheck()
    await expect(dialog.getByRole('textbox', { name: 'Host name' })).toBeHidden()
  } else {
    await expect(dialog.getByText(reason ?? '')).toBeVisible()
    await expect(ownMachine).toHaveAttribute('aria-disabled', 'true')
    await isAccessible(page)
  }
  await dialog.getByRole('textbox', { name: 'Name', exact: true }).fill('copy')
  await dialog.getByRole('button', { name: 'Make 1 clone' }).click()
  await expect.poll(async () => (await api.vms()).map(({ name }) => name), LONG).toContain('copy')
  await page.goto(`/vms/${vm.id}`)
  await expect(page.getByRole('main').getByRole('link', { name: 'copy' })).toBeVisible()
})

test('a disk is made free of any VM, goes to the trash and comes back', async ({ adminPage: page }) => {
  test.setTimeout(300_000)
  await page.goto('/storage')
  await page.getByRole('button', { name: 'New disk' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox', { name: 'Name' }).fill('spare')
  await isAccessible(page)
  await dialog.getByRole('button', { name: 'Make the disk' }).click()
  const menu = page.getByRole('button', { name: 'Actions for the disk spare' })
  await expect(menu).toBeVisible(LONG)
  await menu.click()
  await page.getByRole('menuitem', { name: 'Put it in the trash' }).click()
  await expect(page.getByText('spare is in the trash').first()).toBeVisible()
  await expect(page.getByText('No disks', { exact: true })).toBeVisible()
  await page.getByRole('button', { name: 'Undo' }).click()
  await expect(page.getByText('No disks', { exact: true })).toBeHidden()
  await expect(menu).toBeVisible()
})

test('a disk moves to another pool while its guest runs, seen and cancelled in place; its files are told; a pool changes', async ({
  adminPage: page,
  api,
}) => {
  test.setTimeout(300_000)
  const path = join(api.dashboard.poolsDir, 'fast')
  mkdirSync(path, { mode: 0o755 })
  const pool = await api.call<Pool>('POST', '/pools', { name: 'fast', path, reserveBytes: 0 })
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: 'writer', disks: [{ device: 'disk', sizeGiB: 1 }] })
  const file = join(api.dashboard.dataDir, 'vms', vm.id, 'disk0.qcow2')
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 64M', file])
  await api.send('POST', `/vms/${vm.id}/start`)
  await page.goto(`/vms/${vm.id}`)
  await page.getByRole('link', { name: 'Its disks' }).click()
  const menu = page.getByRole('button', { name: /^Actions for the disk writer/ })
  await menu.click()
  await page.getByRole('menuitem', { name: 'Files it is made of' }).click()
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('The whole disk is one file.')
  await expect(dialog).toContainText('written')
  await isAccessible(page)
  await dialog.getByRole('button', { name: 'Close' }).last().click()

  const move = async (limit: string) => {
    await menu.click()
    await page.getByRole('menuitem', { name: 'Move it to another pool' }).click()
    await expect(dialog).toContainText('The guest writes on meanwhile.')
    await dialog.getByRole('spinbutton', { name: 'At most' }).fill(limit)
    await dialog.getByRole('button', { name: 'Move' }).click()
    await expect(dialog).toBeHidden()
  }
  await move('1')
  const cancel = page.getByRole('button', { name: /^Cancel: Moving writer/ })
  await expect(cancel).toBeVisible(LONG)
  await page.reload()
  await expect(cancel).toBeVisible(LONG)
  await isAccessible(page)
  await cancel.click()
  await expect(cancel).toBeHidden(LONG)
  await expect(page.getByRole('row', { name: /writer/ })).not.toContainText('fast')
  await move('')
  await expect(page.getByRole('row', { name: /writer/ })).toContainText('fast', LONG)
  expect((await api.vms()).find(({ id }) => id === vm.id)?.state).toBe('running')

  await page.getByRole('button', { name: 'Actions for the pool fast' }).click()
  await page.getByRole('menuitem', { name: 'Change' }).click()
  await dialog.getByRole('textbox', { name: 'Name' }).fill('quick')
  await dialog.getByRole('spinbutton', { name: 'Keep free' }).fill('1')
  await isAccessible(page)
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog).toBeHidden()
  await expect(page.getByRole('row', { name: /writer/ })).toContainText('quick', LONG)

  await api.send('POST', `/vms/${vm.id}/poweroff`)
  await api.reached(vm.id, 'off')
  await api.send('DELETE', `/vms/${vm.id}?disks=delete`)
  const { items } = await api.call<{ items: Volume[] }>('GET', '/volumes')
  expect(items.filter((volume) => volume.pool.id === pool.id)).toEqual([])
  await api.send('DELETE', `/pools/${pool.id}`)
})
