import type { Locator, Page } from '@playwright/test'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'

const row = (page: Page, name: string): Locator =>
  page.getByRole('row').filter({ has: page.getByRole('link', { name, exact: true }) })
const names = (page: Page): Locator => page.getByRole('row').getByRole('link')
const stateOf = (page: Page, name: string): Locator => row(page, name).getByRole('cell').nth(1)

test.beforeEach(async ({ api, adminPage }) => {
  await api.createVm({ ...EMPTY_MACHINE, name: 'alder', memoryMiB: 48, tags: ['tree'] })
  await api.createVm({ ...EMPTY_MACHINE, name: 'birch', memoryMiB: 16, tags: ['tree'] })
  await api.createVm({ ...EMPTY_MACHINE, name: 'carp', memoryMiB: 32, tags: ['fish'] })
  await adminPage.goto('/vms')
  await expect(names(adminPage)).toHaveText(['alder', 'birch', 'carp'])
})

test('the list is searched by words and filters, sorted by any column, and the address keeps both', async ({
  adminPage: page,
  api,
}) => {
  const search = page.getByRole('searchbox', { name: 'Search VMs' })
  await search.fill('bir')
  await expect(names(page)).toHaveText(['birch'])
  await expect(page.getByText('1 of 3')).toBeVisible()
  await search.fill('tag:tree -birch')
  await expect(names(page)).toHaveText(['alder'])
  await search.fill('nothing like this')
  await expect(page.getByText('No VM matches')).toBeVisible()
  await page.getByRole('button', { name: 'Show all' }).click()
  await expect(names(page)).toHaveCount(3)

  await api.start((await api.vms()).find((vm) => vm.name === 'carp')?.id ?? '')
  await search.fill('state:running')
  await expect(names(page)).toHaveText(['carp'])
  await page.getByRole('button', { name: 'Off', exact: true }).click()
  await expect(search).toHaveValue('state:off')
  await expect(names(page)).toHaveText(['alder', 'birch'])

  const memory = page.getByRole('columnheader', { name: 'Memory' })
  await memory.getByRole('button').click()
  await expect(memory).toHaveAttribute('aria-sort', 'ascending')
  await expect(names(page)).toHaveText(['birch', 'alder'])
  await memory.getByRole('button').click()
  await expect(names(page)).toHaveText(['alder', 'birch'])
  await expect(page).toHaveURL(/\?q=state%3Aoff&sort=memory&dir=desc$/)

  await page.reload()
  await expect(search).toHaveValue('state:off')
  await expect(memory).toHaveAttribute('aria-sort', 'descending')
  await expect(names(page)).toHaveText(['alder', 'birch'])
})

test('what happens behind the page shows in it at once', async ({ adminPage: page, api }) => {
  const [alder] = (await api.vms()).filter((vm) => vm.name === 'alder')
  if (alder === undefined) throw new Error('alder is gone')
  await expect(stateOf(page, 'alder')).toHaveText('Off')
  await api.send('POST', `/vms/${alder.id}/start`)
  await expect(stateOf(page, 'alder')).toHaveText('Running')
  await api.send('POST', `/vms/${alder.id}/pause`)
  await expect(stateOf(page, 'alder')).toHaveText('Paused')
  await api.send('POST', `/vms/${alder.id}/poweroff`)
  await expect(stateOf(page, 'alder')).toHaveText('Off')
  await api.createVm({ ...EMPTY_MACHINE, name: 'dace' })
  await expect(names(page)).toHaveText(['alder', 'birch', 'carp', 'dace'])
})

test('several VMs are started, powered off and deleted together', async ({ adminPage: page, api }) => {
  const bar = page.getByRole('region', { name: 'Actions for the selected VMs' })
  await page.getByRole('checkbox', { name: 'Select alder' }).check()
  await page.getByRole('checkbox', { name: 'Select birch' }).check()
  await expect(bar.getByText('2 selected')).toBeVisible()
  await expect(bar.getByRole('button', { name: 'Power off' })).toBeDisabled()
  await expect(bar.getByRole('button', { name: 'Power off' })).toHaveAccessibleDescription(
    'None of the selected VMs is on.',
  )

  await bar.getByRole('button', { name: 'Start', exact: true }).click()
  await expect(stateOf(page, 'alder')).toHaveText('Running', { timeout: 30_000 })
  await expect(stateOf(page, 'birch')).toHaveText('Running', { timeout: 30_000 })
  await expect(stateOf(page, 'carp')).toHaveText('Off')
  await expect(bar.getByRole('button', { name: 'Delete' })).toBeDisabled()

  await bar.getByRole('button', { name: 'Power off' }).click()
  const dialog = page.getByRole('dialog', { name: 'Power off 2 VMs?' })
  await expect(dialog.getByText(/alder/)).toBeVisible()
  await dialog.getByRole('button', { name: 'Power off' }).click()
  await expect(stateOf(page, 'alder')).toHaveText('Off', { timeout: 30_000 })
  await expect(stateOf(page, 'birch')).toHaveText('Off', { timeout: 30_000 })

  await bar.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog', { name: 'Delete 2 VMs?' }).getByRole('button', { name: 'Delete' }).click()
  await expect(names(page)).toHaveText(['carp'])
  expect((await api.vms()).map((vm) => vm.name)).toEqual(['carp'])
})
