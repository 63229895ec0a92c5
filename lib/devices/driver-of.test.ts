/** The drivers that pages ask QEMU about are those the compiler puts on the command line. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from '#server/spec/compile.ts'
import { normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '#server/spec/test-support.ts'
import { driverOf, knownDevices } from './driver-of.ts'

// Has every device of every family.
const capabilities = capabilitiesOf('10.0')

const disk = fc.record({
  device: fc.constant('disk'),
  bus: fc.constantFrom('virtio-blk', 'virtio-scsi', 'nvme', 'sata', 'ide', 'usb'),
})
const cdrom = fc.record({
  device: fc.constant('cdrom'),
  bus: fc.constantFrom('sata', 'ide', 'virtio-scsi', 'usb'),
})
const card = fc.record({
  model: fc.constantFrom('virtio-net', 'e1000e', 'e1000', 'rtl8139', 'vmxnet3', 'usb-net'),
})
const some = <T>(one: fc.Arbitrary<T>, maxLength: number) => fc.array(one, { maxLength })
const boards = {
  q35: { display: ['virtio-vga', 'virtio-gpu', 'std', 'qxl', 'ramfb', 'bochs', 'none'], bus: ['usb', 'virtio'] },
  pc: { display: ['virtio-vga', 'virtio-gpu', 'std', 'qxl', 'ramfb', 'bochs', 'none'], bus: ['usb', 'virtio'] },
  microvm: { display: ['virtio-gpu', 'none'], bus: ['virtio'] },
} as const

const onBoard = (machine: keyof typeof boards) =>
  fc.record(
    {
      machine: fc.constant(machine),
      disks: machine === 'microvm' ? some(fc.constant({ device: 'disk' }), 3) : some(fc.oneof(disk, cdrom), 4),
      networks: machine === 'microvm' ? some(fc.constant({}), 2) : some(card, 2),
      display: fc.constantFrom(...boards[machine].display),
      usbInput: fc.constantFrom(machine !== 'microvm', false),
      usbController: fc.constantFrom(
        ...(machine === 'microvm' ? ['none'] : ['qemu-xhci', 'nec-usb-xhci', 'ehci', 'uhci', 'none']),
      ),
      inputs: some(
        fc.record({
          type: fc.constantFrom('tablet', 'keyboard', 'mouse', 'multitouch'),
          bus: fc.constantFrom(...boards[machine].bus),
        }),
        2,
      ),
      sound: fc.constantFrom('none', 'hda', 'ac97', 'virtio-sound'),
      serialDevice: fc.constantFrom('isa-serial', 'pci-serial', 'virtconsole'),
      serial: fc.boolean(),
      agentChannel: fc.boolean(),
      clipboard: fc.boolean(),
      channels: some(fc.record({ device: fc.constantFrom('isa-serial', 'virtserialport', 'virtconsole') }), 2),
      rng: fc.boolean(),
      balloon: fc.boolean(),
      pvpanic: fc.boolean(),
      generationId: fc.boolean(),
      iommu: fc.constantFrom('none', 'virtio'),
      tpm: fc.constantFrom('none', 'tpm-crb', 'tpm-tis'),
      vsock: fc.constantFrom(null, { cid: 7 }),
      watchdog: fc.constantFrom(null, { model: 'i6300esb', action: 'reset' }, { model: 'itco', action: 'reset' }),
      shares: some(fc.record({ driver: fc.constantFrom('virtiofs', '9p'), source: fc.constant('/srv/a') }), 1),
      hostDevices: fc.constantFrom(
        [],
        [
          { type: 'usb-id', vendor: '1234', product: '5678' },
          { type: 'pci', address: '0000:03:00.0' },
        ],
      ),
      dimms: fc.constantFrom([], [{ sizeMiB: 1024 }]),
      virtioMem: fc.constantFrom(null, { sizeMiB: 1024, requestedMiB: 0 }),
    },
    // Left out more often than not: fewer of the combinations are refused.
    { requiredKeys: ['machine', 'disks', 'networks'] },
  )

/** What microvm has no place for: left in, hardly a definition would be accepted. */
const NOT_ON_MICROVM = {
  ...{ iommu: 'none', tpm: 'none', sound: 'none', watchdog: null, pvpanic: false, virtioMem: null, memoryMaxMiB: null },
  generationId: false,
  ...{ hostDevices: [], dimms: [] },
}

/** `-device`s of the compiled definition by id; null when the definition is refused. */
function compiled(input: object) {
  const parsed = VmSpecInput.parse({ name: 'a', memoryMaxMiB: 16_384, memoryMiB: 1024, ...input })
  try {
    const spec = normalizeSpec(parsed, factsFor(capabilities))
    const result = compile(compileInput(spec, capabilities))
    if (!result.ok) return null
    const devices = result.plan.options
      .filter(({ argv }) => argv[0] === '-device')
      .map(({ argv }) => JSON.parse(argv[1] ?? '') as { id: string; driver: string })
    return { spec, devices }
  } catch (error) {
    if (error instanceof EngineError) return null
    throw error
  }
}

const byId = (devices: readonly { id: string; driver: string }[]) =>
  devices.map(({ id, driver }) => `${id} ${driver}`).sort()

describe('driver of a device', () => {
  it.each(['q35', 'pc', 'microvm'] as const)(
    'on %s every device has the driver that the compiler gives it',
    (board) => {
      let accepted = 0
      fc.assert(
        fc.property(onBoard(board), (input) => {
          const made = compiled(board === 'microvm' ? { ...input, ...NOT_ON_MICROVM } : input)
          if (made === null) return
          accepted += 1
          const expected = made.devices.filter(({ id, driver }) => !id.includes('.') && driver !== 'pcie-root-port')
          expect(byId(knownDevices(made.spec))).toEqual(byId(expected))
        }),
        { numRuns: 600 },
      )
      expect(accepted).toBeGreaterThan(60)
    },
  )

  it('what it is made from is a field of the definition', () => {
    const made = compiled({ machine: 'q35', disks: [{ device: 'disk' }, { device: 'cdrom', bus: 'virtio-scsi' }] })
    if (made === null) throw new Error('was refused')
    for (const { field } of knownDevices(made.spec)) {
      const value = field
        .slice(1)
        .split('/')
        .reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], made.spec)
      expect(value, field).toBeDefined()
    }
  })

  it('an id that no device has, has no driver', () => {
    const made = compiled({ machine: 'q35', disks: [{ device: 'disk' }], networks: [] })
    expect(made && driverOf(made.spec, 'disk0')).toBe('virtio-blk-pci')
    expect(made && driverOf(made.spec, 'disk1')).toBeNull()
  })
})
