import { violations } from './support/accessible.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'

const VM = 'precious'

test('a VM is backed up, checked with a picture of its screen, restored as a new one, and the backup deleted', async ({
  adminPage: page,
  api,
}) => {
  test.setTimeout(240_000)
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM, guest: 'other', disks: [{ device: 'disk', sizeGiB: 1 }] })
  await page.goto(`/vms/${vm.id}/backups`)
  await expect(page.getByText('No backups yet')).toBeVisible()

  await page.getByRole('button', { name: 'Back up now' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Back up' }).click()
  const rows = page.getByRole('table').getByRole('row')
  await expect(rows.filter({ hasText: 'full' })).toBeVisible({ timeout: 60_000 })
  expect(await violations(page, { only: 'all' })).toEqual([])

  const choose = async (action: string) => {
    await page.getByRole('button', { name: /^Actions for the backup of/ }).click()
    await page.getByRole('menuitem', { name: action }).click()
  }
  await choose('Check…')
  await page.getByRole('checkbox', { name: 'Also start it and show its screen' }).check()
  await page.getByRole('spinbutton', { name: 'Look for at most' }).fill('12')
  await page.getByRole('dialog').getByRole('button', { name: 'Check' }).click()
  const picture = page.getByRole('img', { name: `Screen of the backup of ${VM}` })
  await expect(picture).toBeVisible({ timeout: 120_000 })
  await expect.poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(300)

  await choose('Restore…')
  await page.getByRole('textbox', { name: 'Name' }).fill('second life')
  await page.getByRole('dialog').getByRole('button', { name: 'Restore' }).click()
  await expect.poll(async () => (await api.vms()).map(({ name }) => name), { timeout: 60_000 }).toContain('second life')
  await expect(page.getByRole('dialog')).toBeHidden()
  await expect(page.getByText('Restore of second life')).toBeHidden({ timeout: 60_000 })

  await page.getByRole('button', { name: 'Add a schedule' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Every night at 2')).toBeVisible()
  await page.getByRole('button', { name: 'Actions for the schedule 0 2 * * *' }).click()
  await page.getByRole('menuitem', { name: 'Change…' }).click()
  await page.getByRole('dialog').getByLabel('When').selectOption('weekly')
  await page.getByRole('dialog').getByLabel('weekly').fill('9')
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Sundays at 3')).toBeVisible()
  await expect(page.getByText(/^keeps .*9 weekly/)).toBeVisible()
  await page.goto('/backups')
  await expect(page.getByRole('link', { name: VM }).first()).toBeVisible()

  await choose('Delete…')
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await expect(page.getByText('No backups yet')).toBeVisible({ timeout: 60_000 })
})
