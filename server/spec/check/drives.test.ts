import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, factsFor } from '../test-support.ts'

const capabilities = capabilitiesOf('7.2')
const accept = (input: object, over: Partial<QemuCapabilities> = {}) =>
  normalizeSpec(VmSpecInput.parse({ name: 'a', networks: [], ...input }), factsFor({ ...capabilities, ...over }))
function refusal(input: object, over: Partial<QemuCapabilities> = {}) {
  try {
    accept(input, over)
  } catch (error) {
    if (error instanceof EngineError) return { code: error.code, field: error.field, message: error.message }
    throw error
  }
  throw new Error('was accepted')
}
const disk = (more: object = {}) => ({ device: 'disk', ...more })
const limits = (more: object) =>
  disk({
    throttle: {
      ...{ bytesPerSecond: 0, readBytesPerSecond: 0, writeBytesPerSecond: 0, bytesPerSecondMax: 0 },
      ...{ iops: 0, readIops: 0, writeIops: 0, iopsMax: 0, burstSeconds: 1 },
      ...more,
    },
  })

describe('drives', () => {
  const refused: [string, object, string, RegExp][] = [
    ['IDE on q35', { disks: [disk({ bus: 'ide' })] }, 'disks.0.bus', /sata/],
    ['an IDE CD on q35', { disks: [{ device: 'cdrom', bus: 'ide' }] }, 'disks.0.bus', /sata/],
    ['SATA on microvm', { machine: 'microvm', disks: [disk({ bus: 'sata' })] }, 'disks.0.bus', /virtio/],
    ['NVMe on microvm', { machine: 'microvm', disks: [disk({ bus: 'nvme' })] }, 'disks.0.bus', /virtio/],
    ['a USB CD on microvm', { machine: 'microvm', disks: [{ device: 'cdrom', bus: 'usb' }] }, 'disks.0.bus', /virtio/],
    ['a SATA port beyond the sixth', { disks: [disk({ bus: 'sata', port: 6 })] }, 'disks.0.port', /0 to 5/],
    [
      'an IDE port beyond the fourth',
      { machine: 'pc', disks: [disk({ bus: 'ide', port: 4 })] },
      'disks.0.port',
      /0 to 3/,
    ],
    [
      'two drives on one SCSI target',
      { disks: [disk({ bus: 'virtio-scsi', port: 7 }), { device: 'cdrom', bus: 'virtio-scsi', port: 7 }] },
      'disks.1.port',
      /SCSI target 7/,
    ],
    ['native AIO through the page cache', { disks: [disk({ aio: 'native' })] }, 'disks.0.aio', /none/],
    [
      'zeroes freed without discard',
      { disks: [disk({ discard: 'ignore', detectZeroes: 'unmap' })] },
      'disks.0.detectZeroes',
      /discard/,
    ],
    ['an I/O thread on SATA', { disks: [disk({ bus: 'sata', ioThread: true })] }, 'disks.0.ioThread', /virtio/],
    ['an I/O thread on microvm', { machine: 'microvm', disks: [disk({ ioThread: true })] }, 'disks.0.ioThread', /./],
    ['queues on SCSI', { disks: [disk({ bus: 'virtio-scsi', queues: 2 })] }, 'disks.0.queues', /virtio-blk/],
    ['a read-only SATA disk', { disks: [disk({ bus: 'sata', readOnly: true })] }, 'disks.0.readOnly', /SATA/],
    [
      'an NVMe disk without serial number',
      { disks: [disk({ bus: 'nvme', id: 'a-name-of-24-characters0' })] },
      'disks.0.serial',
      /serial/,
    ],
    [
      'an NVMe disk that pauses the guest',
      { disks: [disk({ bus: 'nvme', werror: 'stop' })] },
      'disks.0.werror',
      /NVMe/,
    ],
    ['a shared disk without serial number', { disks: [disk({ shared: true })] }, 'disks.0.serial', /serial/],
    [
      'a shared disk from an image',
      { disks: [disk({ shared: true, serial: 'x', image: '01890000-0000-7000-8000-00000000d15c' })] },
      'disks.0.image',
      /empty/,
    ],
    [
      'one serial number twice',
      { disks: [disk({ serial: 'x' }), disk({ bus: 'sata', serial: 'x' })] },
      'disks.1.serial',
      /mix/,
    ],
    [
      'a serial number that is another disk’s id',
      { disks: [disk(), disk({ serial: 'disk0' })] },
      'disks.1.serial',
      /mix/,
    ],
    [
      'all requests and reads limited at once',
      { disks: [limits({ iops: 5, readIops: 2 })] },
      'disks.0.throttle.iops',
      /not both/,
    ],
    ['a burst without a limit', { disks: [limits({ iopsMax: 2 })] }, 'disks.0.throttle.iopsMax', /first/],
    [
      'a burst below its limit',
      { disks: [limits({ readBytesPerSecond: 10, bytesPerSecondMax: 5 })] },
      'disks.0.throttle.bytesPerSecondMax',
      /10/,
    ],
    [
      'a burst longer than QEMU counts',
      { disks: [limits({ iops: 1, iopsMax: 10 ** 13, burstSeconds: 3600 })] },
      'disks.0.throttle.burstSeconds',
      /less/,
    ],
    [
      'a limit larger than QEMU takes',
      { disks: [limits({ writeIops: 10 ** 15 + 1 })] },
      'disks.0.throttle.writeIops',
      /10\^15/,
    ],
  ]
  it.each(refused)('%s is refused at its field, with the reason', (_, input, field, message) => {
    const answer = refusal(input)
    expect(answer).toMatchObject({ code: 'bad_input', field })
    expect(answer.message).toMatch(message)
  })

  const lacking: [string, object, string][] = [
    ['nvme', disk({ bus: 'nvme' }), 'nvme'],
    ['scsi-hd', disk({ bus: 'virtio-scsi' }), 'scsi-hd'],
    ['the SCSI controller', disk({ bus: 'virtio-scsi' }), 'virtio-scsi-pci'],
    ['ide-hd', disk({ bus: 'sata' }), 'ide-hd'],
    ['usb-storage', disk({ bus: 'usb' }), 'usb-storage'],
    ['the USB bridge of a CD', { device: 'cdrom', bus: 'usb' }, 'usb-bot'],
    ['scsi-cd', { device: 'cdrom', bus: 'usb' }, 'scsi-cd'],
  ]
  it.each(lacking)('a QEMU built without %s is named at the bus', (_, drive, type) => {
    const types = capabilities.types.filter((one) => one !== type)
    expect(refusal({ disks: [drive] }, { types })).toMatchObject({ field: 'disks.0.bus' })
  })

  it('a QEMU built without io_uring or the throttle filter is said', () => {
    const without = (name: 'ioUring' | 'throttleFilter') => ({ features: { ...capabilities.features, [name]: false } })
    expect(refusal({ disks: [disk({ aio: 'io_uring' })] }, without('ioUring')).field).toBe('disks.0.aio')
    expect(refusal({ disks: [limits({ iops: 1 })] }, without('throttleFilter')).field).toBe('disks.0.throttle')
  })

  it('one library image may be under any number of disks: each writes to a file of its own', () => {
    const image = '01890000-0000-7000-8000-00000000d15c'
    expect(accept({ disks: [disk({ image }), disk({ image })] }).disks).toHaveLength(2)
  })

  it('forty cards and three hundred disks are refused before anything is handed out', () => {
    const parse = (input: object) => VmSpecInput.safeParse({ name: 'a', ...input })
    expect(parse({ networks: Array.from({ length: 40 }, () => ({})) }).success).toBe(false)
    expect(parse({ disks: Array.from({ length: 300 }, () => disk()) }).success).toBe(false)
    for (const bootIndex of [0, -1, 100, 1.5, '1'])
      expect(parse({ disks: [disk({ bootIndex })] }).success, String(bootIndex)).toBe(false)
  })
})
