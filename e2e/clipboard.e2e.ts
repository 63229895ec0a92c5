import { GuestShell } from './guests/guest-shell.ts'
import { GuestClipboard } from './guests/vdagent.ts'
import { expect, test } from './support/fixtures.ts'
import { GuestLine } from './support/guest-line.ts'
import { Screen } from './support/screen.ts'

const VM = 'clipboard guest'
const FROM_BROWSER = 'Grüße aus dem Browser, 世界'
const FROM_GUEST = 'copied in the guest: $HOME, "quotes" und Umlaute äöü'

test('text goes from the browser to the guest and back, when its button is pressed', async ({ adminPage, api }) => {
  test.setTimeout(300_000)
  const vm = await api.startDeviceGuest(VM, { clipboard: true })
  const line = await GuestLine.open(api, vm.id)
  const inside = await GuestClipboard.open(await GuestShell.over(line))
  await adminPage.goto(`/vms/${vm.id}/console`)
  await new Screen(adminPage, VM).isLit()
  const open = adminPage.getByRole('button', { name: 'Clipboard', exact: true })
  const dialog = adminPage.getByRole('dialog', { name: `Clipboard of ${VM}` })
  const text = dialog.getByLabel('Text on the clipboard')

  await test.step('what is written in the dialog can be pasted in the guest', async () => {
    await open.click()
    await expect(dialog.getByRole('button', { name: 'Put on the guest’s clipboard' })).toBeDisabled()
    await text.fill(FROM_BROWSER)
    await dialog.getByRole('button', { name: 'Put on the guest’s clipboard' }).click()
    await expect(dialog.getByRole('status')).toHaveText('The guest can paste it now.')
    expect(await inside.paste()).toBe(FROM_BROWSER)
  })

  await test.step('what is copied in the guest appears in the dialog', async () => {
    await inside.copy(FROM_GUEST)
    await expect(text).toHaveValue(FROM_GUEST)
    await dialog.getByRole('button', { name: 'Close' }).last().click()
    await expect(dialog).toBeHidden()
  })

  await test.step('who only watches is offered no clipboard', async () => {
    await adminPage.getByRole('switch', { name: 'Control' }).click()
    await expect(open).toBeDisabled()
    await expect(open).toHaveAccessibleDescription('You are only watching.')
  })
})

test('without a clipboard in the definition the button says so', async ({ adminPage, api }) => {
  const vm = await api.createVm({ name: VM, memoryMiB: 64, cpus: 1, networks: [], disks: [] })
  await api.start(vm.id)
  await adminPage.goto(`/vms/${vm.id}/console`)
  const open = adminPage.getByRole('button', { name: 'Clipboard', exact: true })
  await expect(open).toBeDisabled()
  await expect(open).toHaveAccessibleDescription('The clipboard is switched off in the definition.')
})
