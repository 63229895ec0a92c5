/** Leases, times of power and bookings on their pages, on a real host. */
import { isAccessible } from './support/accessible.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'

/** The dashboard looks at leases every half minute. */
const LONG = { timeout: 90_000 }

const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString().slice(0, 16)

test('a VM is given an end, its owner is warned of it, and one click extends it', async ({ adminPage: page, api }) => {
  test.setTimeout(300_000)
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: 'leased' })
  await page.goto('/lab')
  await expect(page.getByText('No VM has an end')).toBeVisible()
  await page.goto(`/vms/${vm.id}/lab`)
  await expect(page.getByText('It has no end.')).toBeVisible()
  await page.getByRole('button', { name: 'Give it an end' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Ends on').fill(inHours(-5))
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog.getByText('The end must be an hour away at least.')).toBeVisible()
  await isAccessible(page)
  await dialog.getByLabel('Ends on').fill(inHours(3))
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog).toBeHidden()
  await expect(page.getByText('The lease ends')).toBeVisible(LONG)
  await isAccessible(page)

  await page.goto('/')
  await expect(page.getByText('The lease of leased ends soon')).toBeVisible()
  await page.getByRole('button', { name: 'Extend' }).click()
  await expect(page.getByText('The lease of leased ends soon')).toBeHidden()
  await page.goto('/lab')
  await expect(page.getByText('In use')).toBeVisible()
  await isAccessible(page)
})

test('VMs with a tag are switched on and off by the clock, and the next time is left out', async ({
  adminPage: page,
  api,
}) => {
  test.setTimeout(300_000)
  await api.createVm({ ...EMPTY_MACHINE, name: 'desk', tags: ['office'] })
  await page.goto('/lab/power')
  await page.getByRole('button', { name: 'Add a time' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox', { name: 'Tag' }).fill('office')
  await dialog.getByLabel('Time zone').fill('Mars/Base')
  await expect(dialog.getByText(/There is no time zone/)).toBeVisible()
  await isAccessible(page)
  await dialog.getByLabel('Time zone').fill('Europe/Vienna')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await expect(dialog).toBeHidden()
  await expect(page.getByText('On at 09:00')).toBeVisible()
  await expect(page.getByText('Off at 19:00')).toBeVisible()
  await expect(page.getByText('1 VM', { exact: true }).first()).toBeVisible()
  await isAccessible(page)
  await page.getByRole('button', { name: /Actions for On at 09:00/ }).click()
  await page.getByRole('menuitem', { name: 'Skip next' }).click()
  await expect(page.getByText(/left out:/)).toBeVisible()
  for (const what of ['On at 09:00', 'Off at 19:00']) {
    await page.getByRole('button', { name: new RegExp(`Actions for ${what}`) }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await dialog.getByRole('button', { name: 'Delete' }).click()
    await expect(page.getByText(what)).toBeHidden()
  }
  await expect(page.getByText('No times of power yet')).toBeVisible()
})

test('a device is booked in the calendar by keyboard, and taken back', async ({ adminPage: page, api }) => {
  test.setTimeout(300_000)
  await page.goto('/lab/devices')
  await expect(page.getByText('No device can be booked yet')).toBeVisible()
  await page.goto('/lab/settings')
  await expect(page.getByRole('heading', { name: 'Idle VMs' })).toBeVisible()
  await isAccessible(page)
  const device = { type: 'usb-id', vendor: '0529', product: '0001' }
  await api.call('PATCH', '/lab/policy', { devices: [{ device, name: 'Licence dongle' }] })
  await page.setViewportSize({ width: 1280, height: 800 })
  await page.goto('/lab/devices')
  const table = page.getByRole('table')
  await expect(table.getByText('Licence dongle')).toBeVisible()
  // A week that lies ahead, whatever today is.
  await page.getByRole('button', { name: 'Next week' }).click()
  await expect(page).toHaveURL(/week=/)
  await table.getByRole('button', { name: /^Book Licence dongle on Wed/ }).focus()
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox', { name: 'Note' }).fill('release build')
  await isAccessible(page)
  await page.setViewportSize({ width: 1280, height: 800 })
  await dialog.getByRole('button', { name: 'Book it' }).click()
  await expect(dialog).toBeHidden()
  const entry = table.getByRole('button', { name: /admin/ }).first()
  await expect(entry).toBeVisible()
  await isAccessible(page)
  await page.setViewportSize({ width: 1280, height: 800 })
  await entry.focus()
  await page.keyboard.press('Enter')
  await expect(dialog).toContainText('release build')
  await dialog.getByRole('button', { name: 'Take back' }).click()
  await expect(table.getByRole('button', { name: /admin/ })).toHaveCount(0)
  await api.call('PATCH', '/lab/policy', { devices: [] })
})
