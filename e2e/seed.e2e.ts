import type { Locator, Page } from '@playwright/test'
import { canBuildCloudImage, ensureCloudImage } from '#e2e/guests/cloud-image.ts'
import { DESKTOP, isAccessible } from './support/accessible.ts'
import { EMPTY_MACHINE } from './support/api.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0000000000000000000000000000000000000000 ann@desk'
const PASSWORD = 'never in clear'
/** TCG on a busy machine with two processors. */
const BOOT_MS = 300_000

/** Puts a text in the place of what the editor holds, as pasting does. */
async function write(page: Page, editor: Locator, text: string): Promise<void> {
  await editor.click()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.insertText(text)
}

test('a cloud image gets its user, key and host name on the create page and shows them at its login prompt', async ({
  adminPage: page,
  api,
}) => {
  test.skip(!canBuildCloudImage(), 'needs mmdebstrap and GRUB for BIOS')
  // The image is built from packages the first time.
  test.setTimeout(1_900_000 + BOOT_MS)
  const image = await api.registerImage(await ensureCloudImage(), 'debian-12-cloud.qcow2')
  await page.goto(`/vms/new?image=${image.id}`)
  await page.getByLabel('Name', { exact: true }).fill('web')
  await page.getByLabel('Linux', { exact: true }).check({ force: true })
  const section = page.getByRole('region', { name: 'First start' })
  await section.getByLabel('Cloud image').check({ force: true })

  await section.getByLabel('User', { exact: true }).fill('Ann')
  await expect(section.getByLabel('User', { exact: true })).toHaveAttribute('aria-invalid', 'true')
  await section.getByLabel('User', { exact: true }).fill('ann')
  await section.getByLabel('SSH keys').fill(KEY)
  await section.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await section.getByLabel('Host name').fill('first-{index}')
  await section.getByText('Packages, commands, network and more').click()
  await section.getByLabel('Commands').fill('echo "seeded $(hostname)" > /dev/ttyS0')
  await isAccessible(page)
  await page.setViewportSize(DESKTOP)

  // The form writes a text; the password in it is a hash.
  await section.getByRole('button', { name: 'Edit as text' }).click()
  const editor = section.getByRole('textbox', { name: 'Text' })
  await expect(editor).toContainText('passwd: $6$')
  await expect(editor).not.toContainText(PASSWORD)
  await expect(editor).toContainText(KEY)
  await isAccessible(page)
  await page.setViewportSize(DESKTOP)
  await section.getByRole('button', { name: 'Back to the form' }).click()
  await expect(section.getByLabel('User', { exact: true })).toHaveValue('ann')
  await expect(section.getByText('A password is set.')).toBeVisible()

  const plan = page.getByRole('complementary', { name: 'The plan' })
  await expect(plan).toContainText('Its first start is set up: Cloud image.')
  await plan.getByRole('button', { name: 'Command line' }).click()
  const line = page.getByRole('dialog')
  await expect(line).toContainText('Opens the seed CD of this VM')
  await expect(line).not.toContainText('ann@desk')
  await page.keyboard.press('Escape')

  await page.getByRole('button', { name: 'Create and start' }).click()
  await expect(page).toHaveURL(/console/, { timeout: 60_000 })
  const [vm] = await api.vms()
  if (vm === undefined) throw new Error('no VM was made')
  const guest = await GuestLine.open(api, vm.id)
  try {
    await guest.expect(/seeded first-1/, BOOT_MS)
    await guest.expect(/first-1 login:/, BOOT_MS)
  } finally {
    guest.close()
  }
  await page.goto(`/vms/${vm.id}/console?tab=serial`)
  await expect(page.getByRole('region', { name: 'Serial console of web' })).toContainText('first-1 login:')

  await page.goto(`/vms/${vm.id}`)
  const card = page.getByRole('region', { name: 'First start' })
  await expect(card).toContainText('in the running guest')
  await expect(card).toContainText('ann: 1 key, with a password')
  await isAccessible(page)
  await page.setViewportSize(DESKTOP)
  await card.getByRole('button', { name: 'Remove' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
  await expect(card).toContainText('Removed')
})

test('a text that is no YAML says where, and one the form cannot hold is not lost on the way back', async ({
  adminPage: page,
  api,
}) => {
  const vm = await api.createVm({ ...EMPTY_MACHINE, name: 'plain' })
  await page.goto(`/vms/${vm.id}`)
  const card = page.getByRole('region', { name: 'First start' })
  await expect(card).toContainText('Nothing is set up at the first start.')
  await card.getByRole('button', { name: 'Set up a first start' }).click()
  const dialog = page.getByRole('dialog', { name: 'First start of plain' })
  await expect(dialog.getByRole('button', { name: 'Make the CD' })).toBeDisabled()
  await dialog.getByLabel('User', { exact: true }).fill('ann')
  await dialog.getByRole('button', { name: 'Edit as text' }).click()
  const editor = dialog.getByRole('textbox', { name: 'Text' })
  await write(page, editor, '#cloud-config\nusers: [\n')
  await dialog.getByRole('button', { name: 'Make the CD' }).click()
  await expect(dialog.getByRole('alert').first()).toContainText(/Line \d+, column \d+/)

  await write(page, editor, '#cloud-config\nhostname: by-hand\nwrite_files: []\n')
  await dialog.getByRole('button', { name: 'Back to the form' }).click()
  await expect(dialog).toContainText('The text says more than the form can hold.')
  await expect(editor).toContainText('by-hand')
  await isAccessible(page)
  await page.setViewportSize(DESKTOP)
  await dialog.getByRole('button', { name: 'Make the CD' }).click()
  await expect(dialog).toBeHidden()
  await expect(card).toContainText('Waits for the first start')
  await expect(card).toContainText('written by hand')
  await expect(card).toContainText('by-hand')
  const disks = (await api.vm(vm.id)).spec.disks
  expect(disks).toMatchObject([{ id: 'seed', device: 'cdrom' }])
})
