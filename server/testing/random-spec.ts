/**
 * For tests: definitions of every kind. Elements of each family are generated on their own, and what does not go together
 * is taken out again by asking whoever judges definitions, field by field, so that what is left is accepted and nothing
 * of the rules is repeated here.
 */
import fc from 'fast-check'
import type { VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { DISK_ID, ISO_ID } from '#server/spec/test-support.ts'
import { compilerJudge, type Judge, mended } from './mended-spec.ts'

/** Puts something else in the place of a value now and then; leaves it alone when a definition is to be valid. */
export type Spoil = <T>(valid: fc.Arbitrary<T>) => fc.Arbitrary<unknown>
const keep: Spoil = (valid) => valid

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const from = <T>(...values: T[]) => fc.constantFrom(...values)
const whole = (min: number, max: number) => fc.integer({ min, max })
/** For what fits few of the others, or costs much: one time in ten. */
const rarely = <T>(value: fc.Arbitrary<T>, weight = 9): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value })

const id = fc.stringMatching(/^[a-z][a-z0-9-]{0,23}$/)
const fileSerial = fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/)
const rate = fc.oneof(fc.constant(0), whole(0, 10 ** 9))
const limits = fc.record({
  ...{ bytesPerSecond: rate, readBytesPerSecond: fc.constant(0), writeBytesPerSecond: fc.constant(0) },
  ...{ iops: fc.constant(0), readIops: rate, writeIops: rate, bytesPerSecondMax: rate, iopsMax: fc.constant(0) },
  burstSeconds: whole(1, 3600),
})

/** Hard disks on every bus that q35 has. */
export const diskFields = (spoil: Spoil = keep) => ({
  device: fc.constant('disk'),
  id: maybe(spoil(id)),
  sizeGiB: maybe(whole(3, 65_536)),
  image: maybe(from(null, DISK_ID)),
  bootIndex: maybe(fc.option(whole(1, 99))),
  rootPort: maybe(whole(0, 31)),
  bus: maybe(spoil(from('virtio-blk', 'virtio-scsi', 'nvme', 'sata', 'usb'))),
  cache: maybe(spoil(from('writeback', 'none', 'writethrough', 'directsync', 'unsafe'))),
  aio: maybe(from('threads', 'io_uring')),
  discard: rarely(from('unmap', 'ignore')),
  ioThread: rarely(fc.boolean()),
  serial: maybe(spoil(fileSerial)),
  readOnly: rarely(fc.boolean()),
  throttle: maybe(fc.option(limits)),
})
export const cdromFields = (spoil: Spoil = keep) => ({
  device: fc.constant('cdrom'),
  id: maybe(spoil(id)),
  image: maybe(from(null, ISO_ID)),
  port: maybe(whole(0, 5)),
  bus: maybe(spoil(from('sata', 'virtio-scsi', 'usb'))),
})
const cardFields = (spoil: Spoil = keep) => ({
  id: maybe(spoil(id)),
  mac: maybe(spoil(fc.stringMatching(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/))),
  restrict: rarely(fc.boolean()),
  model: maybe(spoil(from('virtio-net', 'e1000e', 'e1000', 'rtl8139', 'vmxnet3', 'usb-net'))),
  link: maybe(fc.boolean()),
  mtu: rarely(whole(576, 65_535)),
  queues: rarely(whole(1, 16)),
  forwards: maybe(
    fc.array(
      fc.record({
        protocol: spoil(from('tcp', 'udp')),
        hostPort: spoil(whole(1024, 65_535)),
        guestPort: whole(1, 65_535),
      }),
      { maxLength: 3 },
    ),
  ),
})
const onBridge = (spoil: Spoil) =>
  fc.record({
    network: spoil(fc.constant('bridge')),
    bridge: spoil(fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$/)),
  })
export const cards = (spoil: Spoil = keep) =>
  fc
    .tuple(fc.record(cardFields(spoil)), fc.oneof(from({}, { network: 'none' }), onBridge(spoil)))
    .map(([card, network]) => ({ ...card, ...network }))

/** What of the host a definition may name. Without it, definitions name nothing of the host. */
export interface HostNames {
  readonly kernel: string
  readonly shareDir: string
  /** Bridges, memory nodes and devices of the host, for definitions that are not started. */
  readonly others: boolean
}

/** `properties` and `rawArgs` that are right where their device is there. */
const PROPERTIES = [
  { disk0: { logical_block_size: 4096, physical_block_size: 4096 } },
  { disk1: { 'write-cache': 'on', 'seg-max-adjust': false } },
  { net0: { mrg_rxbuf: false, rx_queue_size: 512 } },
  { net1: { rombar: 0, guest_csum: false } },
  { video0: { rombar: 0 } },
  { kbd0: { usb_version: 1, serial: 'kb-1, with a comma' } },
  { rng0: { 'max-bytes': 1024, period: 1000 } },
  { balloon0: { 'deflate-on-oom': false } },
]
const RAW_ARGS = [
  ['-device', 'pvpanic,ioport=1285'],
  ['-object', 'cryptodev-backend-builtin,id=c0', '--device', '{"driver":"virtio-crypto-pci","cryptodev":"c0"}'],
  ['-smbios', 'type=3,manufacturer=a,,b'],
  ['-fw_cfg', 'name=opt/org.example/x,string=y'],
  ['-k', 'de'],
  ['-global', 'nvme.mdts=5'],
]
const TEXTS = ['plain', 'two words', 'a,b', 'a,,b=c', 'Büro ☕', '=', "it's", '"', '\\']
const text = fc.option(from(...TEXTS))

function boardFields(capabilities: QemuCapabilities, host: HostNames | null) {
  const versions = capabilities.machines.map(({ name }) => name).filter((name) => /^pc-(q35|i440fx)-/.test(name))
  return {
    machine: fc.oneof(
      { weight: 4, arbitrary: from('q35', 'q35', 'pc', 'microvm') },
      { weight: 1, arbitrary: from(...versions) },
    ),
    firmware: rarely(from('bios', 'uefi'), 2),
    secureBoot: rarely(fc.boolean(), 5),
    tpm: rarely(from('tpm-crb', 'tpm-tis')),
    bootMenu: maybe(fc.boolean()),
    smbios: rarely(
      fc.record({
        ...{ manufacturer: text, product: text, version: text, serial: text, sku: text, family: text },
        oemStrings: fc.array(from(...TEXTS), { maxLength: 16 }),
      }),
      3,
    ),
    clock: maybe(from('utc', 'localtime')),
    clockOffsetSeconds: maybe(fc.oneof(whole(-3_155_760_000, 3_155_760_000), whole(-3600, 3600))),
    hyperv: maybe(fc.boolean()),
    iommu: rarely(from('none', 'intel', 'virtio'), 2),
    directKernel: rarely(
      fc.record({
        kernel: fc.constant(host?.kernel ?? ''),
        initrd: fc.constant(null),
        commandLine: from('', 'console=ttyS0 a=b,c', 'quiet "x y"'),
      }),
    ),
    ps2: maybe(fc.boolean()),
    pvpanic: maybe(fc.boolean()),
    generationId: maybe(fc.boolean()),
    spareRootPorts: maybe(whole(0, 16)),
    accelerator: maybe(from('auto', 'tcg')),
  }
}

/** Cuts `total` into as many positive parts as `shares` has. */
function cut(total: number, shares: readonly number[]): number[] {
  const sum = shares.reduce((a, b) => a + b, 0)
  const parts = shares.map((share) => 1 + Math.floor(((total - shares.length) * share) / sum))
  const rest = total - parts.reduce((a, b) => a + b, 0)
  return [(parts[0] ?? 0) + rest, ...parts.slice(1)]
}

const cpuCounts = fc.oneof(
  { weight: 60, arbitrary: whole(1, 8) },
  { weight: 2, arbitrary: whole(9, 32) },
  { weight: 1, arbitrary: whole(33, 255) },
)
/** CPUs and memory that add up: maximum, topology, NUMA nodes, room for modules. */
const processor = (capabilities: QemuCapabilities, host: HostNames | null) =>
  fc
    .record({
      cpus: cpuCounts,
      more: rarely(cpuCounts, 2),
      shape: maybe(fc.tuple(whole(1, 4), whole(1, 4))),
      nodes: rarely(fc.array(whole(1, 9), { minLength: 1, maxLength: 4 }), 3),
      hostNodes: from(null, ...(host?.others === true ? ['0', '0-1'] : [])),
      memoryMiB: whole(16, 2048),
      roomMiB: maybe(whole(1, 65_536)),
      dimms: maybe(fc.array(fc.record({ id: maybe(id), sizeMiB: whole(1, 8).map((n) => n * 128) }), { maxLength: 3 })),
      virtioMem: maybe(
        fc.record({ sizeMiB: whole(1, 16), requestedMiB: whole(0, 16) }).map(({ sizeMiB, requestedMiB }) => ({
          sizeMiB: sizeMiB * 128,
          requestedMiB: Math.min(sizeMiB, requestedMiB) * 128,
        })),
      ),
      fields: fc.record({
        cpuModel: fc.oneof(fc.constant(undefined), from('auto', ...capabilities.cpuModels.map(({ name }) => name))),
        cpuFlags: maybe(
          fc.array(fc.record({ name: from(...capabilities.cpuFlags.map(({ name }) => name)), enabled: fc.boolean() }), {
            maxLength: 4,
          }),
        ),
        pinning: rarely(
          fc.array(fc.record({ vcpu: whole(0, 8), hostCpus: from('0', '0-1', '1,0') }), { maxLength: 3 }),
        ),
        hugePages: rarely(from('none', '2M', '1G')),
        balloon: maybe(fc.boolean()),
        balloonTargetMiB: maybe(whole(16, 2048)),
        freePageReporting: maybe(fc.boolean()),
      }),
    })
    .map(({ cpus, more, shape, nodes, hostNodes, memoryMiB, roomMiB, dimms, virtioMem, fields }) => {
      const maxCpus = more === undefined ? undefined : Math.min(255, cpus + more)
      const all = maxCpus ?? cpus
      const [cores = 1, threads = 1] = shape ?? []
      const fits = shape !== undefined && all % (cores * threads) === 0 && all <= 64 * cores * threads
      const shares = (nodes ?? []).slice(0, all)
      let first = 0
      const memory = cut(memoryMiB, shares)
      const numa = cut(all, shares).flatMap((count, n) => {
        if (shares.length === 0) return []
        const cpus = count === 1 ? `${first}` : `${first}-${first + count - 1}`
        first += count
        return [{ cpus, memoryMiB: memory[n], hostNodes }]
      })
      return {
        ...fields,
        ...{ cpus, maxCpus, memoryMiB, dimms, virtioMem },
        topology: fits ? { sockets: all / (cores * threads), cores, threads } : undefined,
        numa: numa.length === 0 || memory.some((mib) => mib < 16) ? undefined : numa,
        memoryMaxMiB: roomMiB === undefined ? undefined : memoryMiB + roomMiB,
      }
    })

const usbPort = whole(1, 15)
const busFields = (host: HostNames | null) => ({
  display: maybe(from('virtio-vga', 'virtio-gpu', 'std', 'qxl', 'ramfb', 'bochs', 'none')),
  displayHeads: rarely(whole(1, 16), 2),
  displayResolution: maybe(fc.option(fc.record({ width: whole(320, 8192), height: whole(200, 8192) }))),
  displayMemoryMiB: maybe(fc.option(fc.oneof(from(1, 2, 4, 8, 16, 32, 64, 128, 256), whole(1, 512)))),
  usbInput: maybe(fc.boolean()),
  inputs: maybe(
    fc.array(
      fc.record({
        id: maybe(id),
        type: maybe(from('tablet', 'keyboard', 'mouse', 'multitouch')),
        bus: maybe(from('usb', 'virtio')),
        rootPort: rarely(whole(0, 31)),
        port: rarely(usbPort),
      }),
      { maxLength: 4 },
    ),
  ),
  usbController: maybe(from('qemu-xhci', 'nec-usb-xhci', 'ehci', 'uhci', 'none')),
  usbPorts: maybe(whole(4, 15)),
  sound: maybe(from('none', 'hda', 'ac97', 'virtio-sound')),
  clipboard: maybe(fc.boolean()),
  serial: maybe(fc.boolean()),
  serialDevice: maybe(from('isa-serial', 'pci-serial', 'virtconsole')),
  channels: maybe(
    fc.array(
      fc.record({
        id: maybe(id),
        device: maybe(from('isa-serial', 'virtserialport', 'virtconsole')),
        name: maybe(fc.option(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/))),
        backend: maybe(from('socket', 'log')),
        port: maybe(whole(1, 30)),
      }),
      { maxLength: 5 },
    ),
  ),
  agentChannel: maybe(fc.boolean()),
  vsock: rarely(fc.option(fc.record({ cid: whole(3, 4_294_967_294) }))),
  rng: maybe(fc.boolean()),
  watchdog: maybe(
    fc.option(
      fc.record({
        model: from('i6300esb', 'itco'),
        action: from('reset', 'shutdown', 'poweroff', 'pause', 'inject-nmi', 'none'),
      }),
    ),
  ),
  shares:
    host === null
      ? fc.constant(undefined)
      : rarely(
          fc.array(
            fc.record({
              id: maybe(id),
              driver: fc.oneof({ weight: 3, arbitrary: fc.constant('9p') }, { weight: 1, arbitrary: from('virtiofs') }),
              tag: maybe(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,30}$/)),
              source: fc.constant(host.shareDir),
              readOnly: maybe(fc.boolean()),
              rootPort: rarely(whole(0, 31)),
            }),
            { maxLength: 3 },
          ),
          4,
        ),
  hostDevices: host?.others === true ? rarely(fc.array(hostDevice, { maxLength: 3 }), 4) : fc.constant(undefined),
})

const hex4 = fc.stringMatching(/^[0-9a-f]{4}$/)
const hostDevice = fc.oneof(
  fc.record({ type: fc.constant('usb-id'), vendor: hex4, product: hex4, port: rarely(usbPort) }),
  fc.record({
    type: fc.constant('usb-port'),
    hostBus: whole(1, 9),
    hostPort: from('1', '2.4', '1.2.3'),
    port: rarely(usbPort),
  }),
  fc.record({ type: fc.constant('pci'), address: fc.stringMatching(/^0000:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/) }),
  fc.record({ type: fc.constant('mdev'), uuid: fc.uuid() }),
)

const everyDisk = fc.record({
  ...diskFields(),
  bus: maybe(from('virtio-blk', 'virtio-blk', 'virtio-scsi', 'nvme', 'sata', 'ide', 'usb')),
  port: rarely(whole(0, 15)),
  rootPort: rarely(whole(0, 31)),
  aio: maybe(from('threads', 'native', 'io_uring')),
  detectZeroes: rarely(from('off', 'on', 'unmap'), 2),
  queues: rarely(whole(1, 64), 4),
  shared: rarely(fc.boolean(), 14),
  werror: rarely(from('stop', 'report', 'enospc', 'ignore'), 3),
})
const everyCdrom = fc.record({
  ...cdromFields(),
  bus: maybe(from('sata', 'ide', 'virtio-scsi', 'usb')),
  bootIndex: maybe(fc.option(whole(1, 99))),
})
const everyCard = (host: HostNames | null) => {
  const fields = {
    ...cardFields(),
    bootIndex: rarely(fc.option(whole(1, 99)), 3),
    rootPort: rarely(whole(0, 31)),
    port: rarely(usbPort),
  }
  const own = fc.record({ ...fields, network: maybe(from('user', 'none')) })
  if (host?.others !== true) return own
  const bridged = fc.record({
    ...fields,
    network: fc.constant('bridge'),
    bridge: from('br0', 'virbr0'),
    forwards: fc.constant(undefined),
    vhost: maybe(fc.boolean()),
    rateLimit: maybe(
      fc.option(fc.record({ inKBps: fc.option(whole(1, 12_500_000)), outKBps: fc.option(whole(1, 9999)) })),
    ),
  })
  return fc.oneof({ weight: 4, arbitrary: own as fc.Arbitrary<object> }, { weight: 1, arbitrary: bridged })
}

/** Definitions of all families together, most of which hold something that does not fit: see `mended`. */
function anySpec(capabilities: QemuCapabilities, host: HostNames | null): fc.Arbitrary<object> {
  const { directKernel, ...board } = boardFields(capabilities, host)
  return fc
    .record({
      name: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9 ._()#@+-]{0,30}[a-z]$/),
      description: maybe(fc.string({ maxLength: 20 })),
      tags: maybe(fc.array(fc.stringMatching(/^[a-z][a-z0-9._-]{0,31}$/), { maxLength: 2 })),
      guest: maybe(from('linux', 'windows', 'bsd', 'other')),
      autostart: maybe(fc.boolean()),
      board: fc.record(board),
      directKernel: host === null ? fc.constant(undefined) : directKernel,
      processor: processor(capabilities, host),
      disks: maybe(fc.array(fc.oneof(everyDisk, everyDisk, everyCdrom), { maxLength: 6 })),
      networks: maybe(fc.array(everyCard(host), { maxLength: 3 })),
      bus: fc.record(busFields(host)),
      properties: rarely(from(...PROPERTIES), 3),
      rawArgs: rarely(from(...RAW_ARGS), 4),
    })
    .map(({ board, processor, bus, ...rest }) => withoutUndefined({ ...rest, ...board, ...processor, ...bus }))
}

const withoutUndefined = (value: object): object => JSON.parse(JSON.stringify(value))

/** Definitions that compile, on the host that `judge` knows. */
export function validSpec(
  capabilities: QemuCapabilities,
  host: HostNames | null,
  judge: Judge = compilerJudge(capabilities),
): fc.Arbitrary<VmSpecInput> {
  return anySpec(capabilities, host)
    .map((input) => mended(input, judge))
    .filter((input) => input !== null)
}
