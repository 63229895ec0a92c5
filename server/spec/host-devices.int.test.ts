/** Devices of the host, as far as a machine without them can show: QEMU's own answer, and what is made of it. */
import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { explain } from '#server/vm/failures.ts'

const SMALL = { guest: 'linux', accelerator: 'tcg', memoryMiB: 64, networks: [], display: 'none', spareRootPorts: 0 }
/** On no bus of any PC. */
const NOWHERE = '0000:fe:1f.7'

const list = (dir: string) => (existsSync(dir) ? readdirSync(dir) : [])
const hasIommu = list('/sys/kernel/iommu_groups').length > 0
const [aDevice] = list('/sys/bus/pci/devices')

/** Why QEMU did not start, in words. */
async function refusal(spec: object) {
  const error = await CompiledGuest.start({ ...SMALL, ...spec }).then(
    async (guest) => {
      await guest[Symbol.asyncDispose]()
      return null
    },
    (reason: unknown) => reason,
  )
  if (!(error instanceof Error)) return null
  return explain({ phase: 'launch', exitCode: 1, signal: null, stderr: error.message })
}

describe('QEMU’s answer is put into words', () => {
  it('a PCI device that is not there', async () => {
    expect(await refusal({ hostDevices: [{ type: 'pci', address: NOWHERE }] })).toMatchObject({
      code: 'host-resource',
      summary: `The host has no PCI device ${NOWHERE}.`,
    })
  })

  it.skipIf(hasIommu || aDevice === undefined)('a PCI device on a host without IOMMU', async () => {
    expect(await refusal({ hostDevices: [{ type: 'pci', address: aDevice }] })).toMatchObject({
      code: 'host-resource',
      summary: expect.stringContaining(`${aDevice} is in no IOMMU group`),
      advice: expect.stringContaining('intel_iommu=on'),
    })
  })

  it('a mediated device that is not there', async () => {
    const uuid = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
    expect(await refusal({ hostDevices: [{ type: 'mdev', uuid }] })).toMatchObject({
      code: 'host-resource',
      summary: expect.stringContaining('mediated device'),
    })
  })

  it.skipIf(existsSync('/dev/vhost-vsock'))('vsock on a host whose kernel has none', async () => {
    expect(await refusal({ vsock: { cid: 77 } })).toMatchObject({
      code: 'host-resource',
      summary: expect.stringContaining('/dev/vhost-vsock'),
    })
  })

  it('a folder that has gone', async () => {
    expect(await refusal({ shares: [{ id: 'docs', driver: '9p', source: '/nonexistent' }] })).toMatchObject({
      code: 'host-resource',
      summary: 'The shared folder “docs” cannot be opened.',
    })
  })
})

it('QEMU waits for USB devices of the host that are not plugged in', async () => {
  await using guest = await CompiledGuest.start({
    ...SMALL,
    hostDevices: [
      { id: 'stick', type: 'usb-id', vendor: 'fffe', product: 'fffe' },
      { id: 'socket', type: 'usb-port', hostBus: 255, hostPort: '1.1' },
    ],
  })
  const usb = String(await guest.qmp.execute('human-monitor-command', { 'command-line': 'info qtree' }))
  for (const id of ['stick', 'socket']) expect(usb).toContain(`dev: usb-host, id "${id}"`)
  for (const id of ['stick', 'socket'])
    expect(await guest.qmp.execute('qom-get', { path: `/machine/peripheral/${id}`, property: 'attached' })).toBe(false)
})
