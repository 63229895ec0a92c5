/**
 * The devices page on a real guest that runs and answers nothing: what is added is there at once, what the guest would
 * have to agree to stays, and nothing is claimed that has not happened.
 */
import type { Locator, Page } from '@playwright/test'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, signIn, test } from './support/fixtures.ts'

const SETTLE = { timeout: 30_000 }
const VM = 'workbench'

const row = (page: Page, id: string): Locator =>
  page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: id, exact: true }) })
const add = async (page: Page, what: string): Promise<void> => {
  await page.getByRole('button', { name: 'Add device' }).click()
  await page.getByRole('menuitem', { name: what, exact: true }).click()
}
const apply = async (page: Page, name = 'Apply now'): Promise<void> => {
  const button = page.getByRole('button', { name, exact: true })
  await expect(button).toBeEnabled(SETTLE)
  await button.click()
}

test('a disk and a card are added while the guest runs, and QEMU shows them', async ({ adminPage: page, api }) => {
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM })
  await api.start(vm.id)
  await page.goto(`/vms/${vm.id}/devices`)
  await expect(page.getByRole('region', { name: 'Drives' }).getByText('No drive.')).toBeVisible()

  await add(page, 'Disk')
  await expect(page).toHaveURL(/add=disk$/)
  const editor = page.getByRole('region', { name: 'Add a disk' })
  await editor.getByRole('spinbutton', { name: 'Size' }).fill('2')
  await expect(editor.getByRole('region', { name: 'What this does' })).toContainText('The guest gets this at once')
  await editor.getByRole('button', { name: 'Command line' }).click()
  const line = page.getByRole('dialog', { name: 'What changes in the command line' })
  await expect(line.getByText('virtio-blk-pci').first()).toBeVisible()
  await page.keyboard.press('Escape')
  await apply(page)
  await expect(page).toHaveURL(/devices$/)
  await expect(row(page, 'disk0')).toContainText('2 GiB')
  await expect(row(page, 'disk0')).toContainText('Running')

  await add(page, 'Network card')
  await apply(page)
  await expect(row(page, 'net0')).toContainText('Running')

  const seen = page.getByRole('region', { name: 'Hardware as the guest sees it' })
  await expect(seen.getByRole('link', { name: 'Show disk0 in the list' })).toBeVisible()
  await expect(seen.getByRole('link', { name: 'Show net0 in the list' })).toBeVisible()
  const { spec, pending } = await api.vm(vm.id)
  expect(spec.disks).toMatchObject([{ id: 'disk0', device: 'disk', sizeGiB: 2 }])
  expect(pending).toEqual([])

  await test.step('the cable is pulled from the list', async () => {
    const cable = page.getByRole('switch', { name: 'Cable of net0' })
    await expect(cable).toBeChecked()
    await cable.click()
    await expect(cable).not.toBeChecked()
    await expect.poll(async () => (await api.vm(vm.id)).spec.networks[0]?.link).toBe(false)
    expect((await api.vm(vm.id)).pending).toEqual([])
  })
})

test('what needs a restart waits, says so on every tab, and is taken back', async ({ adminPage: page, api }) => {
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM, disks: [{ device: 'disk', sizeGiB: 1 }] })
  await api.start(vm.id)
  await page.goto(`/vms/${vm.id}/devices?device=disk0`)
  const editor = page.getByRole('region', { name: 'Edit disk0' })
  await editor.getByText('Controller, cache and limits').click()
  await editor.getByRole('combobox', { name: 'Cache' }).selectOption('none')
  const plan = editor.getByRole('region', { name: 'What this does' })
  await expect(plan).toContainText('Waits for the next start')
  await expect(plan).toContainText('disk0')
  await expect(page.getByRole('button', { name: 'Apply now' })).toHaveAccessibleDescription(/Nothing of this/)
  await apply(page, 'At the next start')
  await expect(row(page, 'disk0')).toContainText('Changes at the next start')
  await page.getByRole('link', { name: 'Overview' }).last().click()
  await expect(page.getByText('1 change waits for a restart')).toBeVisible()
  await page.getByRole('button', { name: 'Take back disk0' }).click()
  await expect(page.getByText('1 change waits for a restart')).toBeHidden()
  expect(await api.vm(vm.id)).toMatchObject({ pending: [], spec: { disks: [{ cache: 'writeback' }] } })
})

test('what cannot be is refused at its field before anything changes', async ({ adminPage: page, api }) => {
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM, disks: [{ device: 'disk', sizeGiB: 1 }] })
  await api.start(vm.id)
  await page.goto(`/vms/${vm.id}/devices?device=disk0`)
  const editor = page.getByRole('region', { name: 'Edit disk0' })
  await editor.getByText('Controller, cache and limits').click()
  const serial = editor.getByRole('textbox', { name: 'Serial number' })
  await serial.fill('no spaces here')
  await expect(serial).toHaveAttribute('aria-invalid', 'true')
  await expect(serial).toHaveAccessibleDescription(/letters, digits/i)
  await expect(page.getByRole('button', { name: 'Apply now' })).toHaveAccessibleDescription(
    'Mend what is marked first.',
  )

  await test.step('what was typed is not lost without a question', async () => {
    await page.getByRole('link', { name: 'Console', exact: true }).click()
    const question = page.getByRole('dialog', { name: 'Discard your changes to disk0?' })
    await expect(question).toBeVisible()
    await question.getByRole('button', { name: 'Cancel' }).click()
    await expect(serial).toHaveValue('no spaces here')
  })

  await test.step('somebody else was faster: the form says so and loads what is stored', async () => {
    await serial.fill('SERIAL1')
    await expect(page.getByRole('button', { name: 'At the next start' })).toBeEnabled(SETTLE)
    await api.send('PATCH', `/vms/${vm.id}`, { description: 'somebody else' })
    await expect(editor.getByText('Somebody changed this VM since you began.')).toBeVisible()
    await editor.getByRole('button', { name: 'Load what is stored now' }).click()
    await expect(serial).toHaveValue('')
  })
  expect((await api.vm(vm.id)).pending).toEqual([])
})

test('a device the guest does not release counts as running until it does', async ({ adminPage: page, api }) => {
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM, networks: [{}] })
  await api.start(vm.id)
  await page.goto(`/vms/${vm.id}/devices`)
  await page.getByRole('button', { name: 'Remove net0' }).click()
  const question = page.getByRole('dialog', { name: 'Remove net0?' })
  await expect(question).toContainText('The guest is asked to release net0')
  await apply(page, 'Remove now')
  await expect(question).toBeHidden(SETTLE)
  await expect(page.getByText('The guest has not released net0 yet').first()).toBeVisible(SETTLE)
  await expect(row(page, 'net0')).toContainText('Waits for the guest to release it')
  const seen = page.getByRole('region', { name: 'Hardware as the guest sees it' })
  await expect(seen.getByText('leaving')).toBeVisible()
  await page.getByRole('button', { name: 'Take back net0' }).click()
  await expect(page.getByText('The guest has not released net0 yet')).toBeHidden()
  expect((await api.vm(vm.id)).spec.networks).toHaveLength(1)
})

test('somebody who may only look sees everything and changes nothing', async ({ api, browser }) => {
  const person = { name: 'looker', password: 'correct horse battery' }
  await api.createPerson(person, 'viewer')
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: VM, networks: [{}] })
  const context = await browser.newContext({ baseURL: api.dashboard.url })
  try {
    const page = await context.newPage()
    await signIn(page.request, api.dashboard, person)
    await page.goto(`/vms/${vm.id}/devices`)
    await expect(row(page, 'net0')).toBeVisible()
    for (const name of ['Add device', 'Remove net0'])
      await expect(page.getByRole('button', { name })).toHaveAccessibleDescription('You may look but not change.')
  } finally {
    await context.close()
  }
})
