import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { PciDevice, UsbDevice } from '#lib/schema/host-devices.ts'
import { type VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, factsFor } from '#server/spec/test-support.ts'
import type { Caller } from './types.ts'
import { type AuthorityDeps, createVmAuthority } from './vm-authority.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'gd-auth-')))
afterAll(() => rmSync(root, { recursive: true }))
const shares = join(root, 'shares')
const isos = join(root, 'isos')
const own = join(root, 'shares', 'guestdeck')
mkdirSync(join(shares, 'docs', 'inner'), { recursive: true })
mkdirSync(join(own, 'vms'), { recursive: true })
mkdirSync(isos)
mkdirSync(join(root, 'secret'))
writeFileSync(join(shares, 'file'), '')
writeFileSync(join(isos, 'vmlinuz'), '')
symlinkSync(join(root, 'secret'), join(shares, 'way-out'))
symlinkSync(join(shares, 'docs'), join(shares, 'shortcut'))

const pci = (address: string, extra: Partial<PciDevice> = {}) =>
  ({ address, iommuGroup: 7, assignable: true, reason: null, groupWith: [], usedFor: [], ...extra }) as PciDevice
const usb = (extra: Partial<UsbDevice>) =>
  ({ bus: 1, port: '2', vendorId: '046d', productId: 'c52b', assignable: true, reason: null, ...extra }) as UsbDevice

const authority = (extra: Partial<AuthorityDeps> = {}) =>
  createVmAuthority({
    allowRawArgs: false,
    shareDirs: [shares],
    imageDirs: [isos],
    ownDirs: [own],
    hostDevices: async () => ({ pci: [], usb: [], mdev: { types: [], instances: [] } }),
    isOpen: () => false,
    ...extra,
  })

const caller = (role: Caller['role']) => ({ role }) as Caller
const ADMIN = caller('admin')
const OPERATOR = caller('operator')
const spec = (input: object = {}): VmSpec =>
  normalizeSpec(VmSpecInput.parse({ name: 'x', ...input }), factsFor(capabilitiesOf('7.2')))
const refusal = (code: string, field: string) => expect.objectContaining({ code, field })
const share = (source: string) => ({ shares: [{ source, driver: '9p' }] })

/** What each part looks like in a definition, and the field a refusal names. */
const ADMINS_PARTS: readonly [field: string, part: object][] = [
  ['directKernel', { directKernel: { kernel: join(isos, 'vmlinuz'), initrd: null, commandLine: '' } }],
  ['shares', share(join(shares, 'docs'))],
  ['hostDevices', { hostDevices: [{ type: 'usb-id', vendor: '046d', product: 'c52b' }] }],
  ['rawArgs', { rawArgs: ['-device', 'pvpanic'] }],
]

describe('who may set what', () => {
  it.each(ADMINS_PARTS)('%s is for administrators', (field, part) => {
    const after = spec(part)
    const judge = authority({ allowRawArgs: true })
    const asked = VmSpecPatch.parse(part)
    expect(() => judge.assertMaySet(OPERATOR, null, after)).toThrow(refusal('forbidden', field))
    expect(() => judge.assertMaySet(OPERATOR, spec(), after)).toThrow(refusal('forbidden', field))
    expect(() => judge.assertMayAsk(OPERATOR, spec(), asked)).toThrow(refusal('forbidden', field))
    expect(() => judge.assertMaySet(ADMIN, spec(), after)).not.toThrow()
    expect(() => judge.assertMayAsk(ADMIN, spec(), asked)).not.toThrow()
  })

  it.each(ADMINS_PARTS)(
    'an operator changes the rest of a VM with %s, not that part, nor takes it out',
    (field, part) => {
      const before = spec(part)
      const judge = authority({ allowRawArgs: true })
      expect(() => judge.assertMaySet(OPERATOR, before, { ...before, memoryMiB: 64 })).not.toThrow()
      expect(() => judge.assertMayAsk(OPERATOR, before, VmSpecPatch.parse({ memoryMiB: 64, ...part }))).not.toThrow()
      const without = { ...before, directKernel: null, shares: [], hostDevices: [], rawArgs: [] }
      expect(() => judge.assertMaySet(OPERATOR, before, without)).toThrow(refusal('forbidden', field))
    },
  )

  it('a bridge of the host is for administrators; a card that is on one stays there', () => {
    const on = (bridge: string) => spec({ networks: [{ mac: '52:54:00:00:00:01', network: 'bridge', bridge }] })
    const judge = authority()
    expect(() => judge.assertMaySet(OPERATOR, spec(), on('br0'))).toThrow(refusal('forbidden', 'networks.0.network'))
    expect(() => judge.assertMaySet(OPERATOR, on('br1'), on('br0'))).toThrow(refusal('forbidden', 'networks.0.network'))
    expect(() => judge.assertMaySet(OPERATOR, on('br0'), { ...on('br0'), memoryMiB: 64 })).not.toThrow()
    expect(() => judge.assertMaySet(ADMIN, spec(), on('br0'))).not.toThrow()
  })

  it('a bridge that is open to its project is for whoever may change a VM in it', () => {
    const on = (bridge: string) => spec({ networks: [{ mac: '52:54:00:00:00:01', network: 'bridge', bridge }] })
    const judge = authority({ isOpen: (bridge, projectId) => bridge === 'br0' && projectId === 'lab' })
    expect(() => judge.assertMaySet(OPERATOR, null, on('br0'), 'lab')).not.toThrow()
    for (const [bridge, projectId] of [
      ['br1', 'lab'],
      ['br0', 'other'],
      ['br0', null],
    ] as const)
      expect(() => judge.assertMaySet(OPERATOR, spec(), on(bridge), projectId)).toThrow(
        refusal('forbidden', 'networks.0.network'),
      )
  })

  it('an operator gives a guest less of the host than is usual, or as much; more, and no limit of memory, an administrator', () => {
    const judge = authority()
    const more = [
      ['cpuWeight', { cpuWeight: 101 }],
      ['ioWeight', { ioWeight: 400 }],
      ['memoryCap', { memoryCap: false }],
    ] as const
    for (const [field, part] of more) {
      const after = { ...spec(), ...part }
      for (const before of [null, spec()])
        expect(() => judge.assertMaySet(OPERATOR, before, after)).toThrow(refusal('forbidden', field))
      expect(() => judge.assertMaySet(ADMIN, spec(), after)).not.toThrow()
      // What an administrator has given stays through other changes.
      expect(() => judge.assertMaySet(OPERATOR, after, { ...after, memoryMiB: 64 })).not.toThrow()
      expect(() => judge.assertMaySet(OPERATOR, after, spec())).not.toThrow()
    }
    const less = { ...spec(), cpuWeight: 1, ioWeight: 100, cpuLimit: 0.5 }
    expect(() => judge.assertMaySet(OPERATOR, spec(), less)).not.toThrow()
  })
})

describe('raw options that are switched off', () => {
  // Before anything looks at what they are: an exploit and a harmless option are the same answer.
  it.each([
    [['-incoming', 'exec:touch /tmp/x']],
    [['-netdev', 'tap,id=n,script=/tmp/x']],
    [['-plugin', '/tmp/x.so']],
    [['-drive', 'file=fat:/etc']],
    [['-fw_cfg', 'name=opt/x,file=/etc/shadow']],
    [['-smbios', 'file=/etc/shadow']],
    [['-chardev', 'file,id=f,path=/etc/passwd']],
    [['-D', '/etc/passwd']],
    [['-device', 'pvpanic']],
  ])('%j is forbidden, even to an administrator', (rawArgs) => {
    const asked = { name: 'x', rawArgs }
    expect(() => authority().assertMayAsk(ADMIN, null, asked)).toThrow(refusal('forbidden', 'rawArgs'))
    expect(() => authority().assertMayAsk(OPERATOR, null, asked)).toThrow(refusal('forbidden', 'rawArgs'))
  })

  it('a VM that has them from before is not started with them, and may lose them', async () => {
    const before = spec({ rawArgs: ['-device', 'pvpanic'] })
    await expect(authority().assertLaunchable(before, [])).rejects.toThrow(refusal('forbidden', 'rawArgs'))
    await expect(authority({ allowRawArgs: true }).assertLaunchable(before, [])).resolves.toBeUndefined()
    expect(() => authority().assertMayAsk(ADMIN, before, { rawArgs: [] })).not.toThrow()
    expect(() => authority().assertMaySet(ADMIN, before, { ...before, rawArgs: [] })).not.toThrow()
    expect(() => authority().assertMaySet(ADMIN, before, { ...before, memoryMiB: 64 })).not.toThrow()
  })
})

describe('paths of the host', () => {
  const field = 'shares.0.source'
  const paths = (source: string) => authority().assertHostPaths(spec(share(source)))

  it('a directory at or below a shared one may be shared', async () => {
    await expect(paths(shares)).rejects.toThrow(refusal('forbidden', field))
    await expect(paths(join(shares, 'docs'))).resolves.toBeUndefined()
    await expect(paths(join(shares, 'docs', 'inner'))).resolves.toBeUndefined()
    await expect(authority({ ownDirs: [] }).assertHostPaths(spec(share(shares)))).resolves.toBeUndefined()
  })

  it.each([
    ['elsewhere', join(root, 'secret'), 'forbidden'],
    ['a name that only begins alike', `${shares}-too`, 'forbidden'],
    ['elsewhere over a link', join(shares, 'way-out'), 'forbidden'],
    ['inside, but over a link', join(shares, 'shortcut', 'inner'), 'bad_input'],
    ['a file', join(shares, 'file'), 'bad_input'],
    ['nothing', join(shares, 'absent'), 'bad_input'],
    ["the dashboard's own files", join(own, 'vms'), 'forbidden'],
    ["the dashboard's own directory", own, 'forbidden'],
  ])('%s is refused', async (_, source, code) => {
    await expect(paths(source)).rejects.toThrow(refusal(code, field))
  })

  it('outside, what exists and what does not are the same answer', async () => {
    const messageOf = (source: string) => paths(source).catch((error: unknown) => String(error))
    expect(await messageOf(join(root, 'secret'))).toBe(await messageOf(join(root, 'absent')))
  })

  it('without any directory allowed nothing may be shared', async () => {
    const none = authority({ shareDirs: [] }).assertHostPaths(spec(share(join(shares, 'docs'))))
    await expect(none).rejects.toThrow(refusal('forbidden', field))
  })

  it('kernels lie where images may be registered from', async () => {
    const kernel = (path: string, initrd: string | null = null) =>
      authority().assertHostPaths(spec({ directKernel: { kernel: path, initrd, commandLine: '' } }))
    await expect(kernel(join(isos, 'vmlinuz'))).resolves.toBeUndefined()
    await expect(kernel('/etc/shadow')).rejects.toThrow(refusal('forbidden', 'directKernel.kernel'))
    await expect(kernel(join(isos, 'vmlinuz'), '/etc/shadow')).rejects.toThrow(
      refusal('forbidden', 'directKernel.initrd'),
    )
    await expect(kernel(isos)).rejects.toThrow(refusal('bad_input', 'directKernel.kernel'))
  })
})

describe('devices of the host', () => {
  const stick = { type: 'usb-id', vendor: '046d', product: 'c52b' } as const
  const gpu = { type: 'pci', address: '0000:03:00.0' } as const
  const uuid = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
  const launch = (device: object, host: object = {}, running: object[] = []) =>
    authority({
      hostDevices: async () => ({ pci: [], usb: [], mdev: { types: [], instances: [] }, ...host }),
    }).assertLaunchable(
      spec({ hostDevices: [device] }),
      running.map((each) => ({ id: 'other', name: 'ben’s', spec: spec({ hostDevices: [each] }) })),
    )
  const refused = (code: string, message: RegExp) =>
    expect.objectContaining({ code, field: 'hostDevices.0', message: expect.stringMatching(message) })

  it.each([
    ['USB by id', stick, {}],
    ['USB by port', { type: 'usb-port', hostBus: 1, hostPort: '2' }, {}],
    ['PCI', gpu, { pci: [pci('0000:03:00.0')] }],
    ['mediated', { type: 'mdev', uuid }, { mdev: { types: [], instances: [{ uuid }] } }],
  ])('a %s device goes to one running guest', async (_, device, host) => {
    await expect(launch(device, host)).resolves.toBeUndefined()
    await expect(launch(device, host, [device])).rejects.toThrow(refused('conflict', /ben’s has this device/))
  })

  it('an IOMMU group goes to one guest', async () => {
    const host = { pci: [pci('0000:03:00.0'), pci('0000:03:00.1'), pci('0000:04:00.0', { iommuGroup: 8 })] }
    const neighbour = { type: 'pci', address: '0000:03:00.1' }
    await expect(launch(gpu, host, [neighbour])).rejects.toThrow(refused('conflict', /group 7 .* ben’s/))
    await expect(launch(gpu, host, [{ type: 'pci', address: '0000:04:00.0' }])).resolves.toBeUndefined()
  })

  it('what the host uses stays with the host, with the reason', async () => {
    const reason = 'It shares IOMMU group 7 with what the host uses: 0000:03:00.1 (eth0 (up)).'
    await expect(launch(gpu, { pci: [pci('0000:03:00.0', { assignable: false, reason })] })).rejects.toThrow(
      refused('bad_input', /eth0 \(up\)/),
    )
    const used = { assignable: false, reason: 'The host uses it: sda1 (mounted at /).' }
    await expect(launch(stick, { usb: [usb(used)] })).rejects.toThrow(refused('bad_input', /mounted at/))
    // Another of the same kind is free.
    await expect(launch(stick, { usb: [usb(used), usb({ port: '3' })] })).resolves.toBeUndefined()
  })

  it('what is not there is refused, but for USB, which may be plugged in later', async () => {
    await expect(launch(gpu)).rejects.toThrow(refused('bad_input', /no PCI device/))
    await expect(launch({ type: 'mdev', uuid })).rejects.toThrow(refused('bad_input', /no mediated device/))
    await expect(launch(stick)).resolves.toBeUndefined()
  })
})
