import { afterAll, beforeAll, expect, it } from 'vitest'
import { GuestShell } from '#e2e/guests/guest-shell.ts'
import { ensureQemu, QEMU_VERSIONS, type UnpackedQemu } from '#server/testing/qemu-versions.ts'
import { Api } from './api.ts'
import { GuestLine } from './guest-line.ts'
import { Dashboard } from './server.ts'

let dashboard: Dashboard
let api: Api
let qemu: UnpackedQemu
beforeAll(async () => {
  qemu = await ensureQemu(QEMU_VERSIONS.at(-1) ?? '11.1')
  dashboard = await Dashboard.start({ apiOnly: true, env: { GUESTDECK_QEMU: qemu.binary } })
  api = await Api.signIn(dashboard, { name: 'admin', password: 'correct horse battery' })
}, 600_000)
afterAll(() => dashboard?.dispose())

it('the guest for device tests answers on the console of a dashboard with another QEMU, before and after a restart', async () => {
  const vm = await api.startDeviceGuest('devices')
  const pid = dashboard.guestPid(vm.id)
  const open = async () => GuestShell.over(await GuestLine.open(api, vm.id))
  const before = await open()
  expect(await before.output('lspci')).toMatch(/virtio-pci\/virtio_gpu$/m)
  expect(await before.output('cat /sys/class/dmi/id/product_version')).toMatch(/^pc-q35-/)
  before.close()

  await dashboard.restart()
  expect(dashboard.guestPid(vm.id)).toBe(pid)
  expect(await api.vm(vm.id)).toMatchObject({ state: 'running' })
  const after = await open()
  expect(await after.output('cat /proc/uptime')).toMatch(/^\d+\.\d+ /)
  after.close()
}, 300_000)
