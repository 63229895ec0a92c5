import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ensureGuestIso } from '#e2e/guests/build.ts'
import { CACHE_DIR } from '#e2e/guests/cache.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'

test('a Windows guest gets the virtio drivers on a CD that is never booted from, unless it is taken away', async ({
  adminPage: page,
  api,
}) => {
  const file = join(CACHE_DIR, 'e2e-virtio-win-0.1.271.iso')
  copyFileSync(await ensureGuestIso(), file)
  try {
    await api.registerImage(file, 'virtio-win-0.1.271.iso')
    await page.goto('/vms/new')
    await page.getByText('Nothing', { exact: true }).click()
    const drivers = page.getByRole('checkbox', { name: 'Attach the CD with the virtio drivers' })
    await expect(drivers).toBeHidden()
    await page.getByLabel('Windows', { exact: true }).check({ force: true })
    await expect(drivers).toBeChecked()
    await expect(page.getByText('The virtio drivers for Windows.')).toBeVisible()

    await drivers.uncheck()
    await expect(page.getByText('The virtio drivers for Windows.')).toBeHidden()
    await drivers.check()
    await page.getByLabel('Name', { exact: true }).fill('windows')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await expect(page.getByRole('heading', { name: 'windows', level: 1 })).toBeVisible()
    const [vm] = await api.vms()
    expect(vm?.spec.disks).toMatchObject([{ device: 'cdrom', bootIndex: null }])
    expect(vm?.spec.disks[0]?.image).not.toBeNull()
  } finally {
    rmSync(file, { force: true })
  }
})

test('a problem in a closed part of the form leads to its field, which is fetched and gets the focus', async ({
  adminPage: page,
  api,
}) => {
  await page.goto('/vms/new')
  await page.getByText('Nothing', { exact: true }).click()
  await page.getByLabel('Name', { exact: true }).fill('shared')
  await page.getByText('Shared directories', { exact: true }).click()
  await page.getByRole('button', { name: 'Share a directory' }).click()
  const source = page.getByRole('textbox', { name: 'Directory of the host' })
  await expect(source).toHaveAttribute('aria-invalid', 'true')
  await expect(page.getByRole('button', { name: 'Create', exact: true })).toBeDisabled()

  await page
    .getByRole('complementary', { name: 'The plan' })
    .getByRole('button', { name: /^Shared/ })
    .click()
  await expect(source).toBeFocused()

  await page.getByRole('button', { name: /^Remove Shared directory/ }).click()
  await page.getByText('Sound and clipboard', { exact: true }).click()
  await page.getByLabel('Intel HDA', { exact: true }).check({ force: true })
  await page.getByRole('button', { name: 'Create', exact: true }).click()
  await expect(page.getByRole('heading', { name: 'shared', level: 1 })).toBeVisible()
  const [vm] = await api.vms()
  expect(vm?.spec).toMatchObject({ sound: 'hda', shares: [] })
  expect(vm?.spec.memoryMiB).toBeGreaterThan(EMPTY_MACHINE.memoryMiB)
})
