/** What of each field a running guest takes at once, by asking the rules that changes are planned with. */
import type { SpecField } from '#lib/devices/fields.ts'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { planLive } from '#lib/vm/live.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import type { DeviceList } from '#lib/vm/live-types.ts'
import { ROOMY } from '#lib/vm/pending.ts'

/** `device`: comes and goes with its device, and waits for the next start on one that is there. */
export type LiveKind = 'at-once' | 'device' | 'next-start' | 'dashboard'

type Json = { readonly [key: string]: unknown }

/** One of everything. Only compared and planned with, never started. */
const SAMPLE = StoredVmSpec.parse({
  name: 'sample',
  description: '',
  tags: [],
  guest: 'linux',
  autostart: false,
  accelerator: 'auto',
  machine: 'pc-q35-7.2',
  firmware: 'uefi',
  smbios: { manufacturer: 'a', product: 'a', version: 'a', serial: 'a', sku: 'a', family: 'a', oemStrings: ['a'] },
  clock: 'utc',
  directKernel: { kernel: '/k', initrd: '/i', commandLine: '' },
  cpus: 2,
  maxCpus: 8,
  cpuModel: 'auto',
  topology: { sockets: 1, cores: 8, threads: 1 },
  cpuFlags: [{ name: 'avx2', enabled: false }],
  pinning: [{ vcpu: 0, hostCpus: '0' }],
  numa: [{ cpus: '0-7', memoryMiB: 1024, hostNodes: '0' }],
  memoryMiB: 1024,
  memoryMaxMiB: 8192,
  dimms: [{ id: 'dimm0', sizeMiB: 128 }],
  virtioMem: { sizeMiB: 512, requestedMiB: 0 },
  balloon: true,
  disks: [
    {
      ...{
        id: 'disk0',
        device: 'disk',
        bus: 'virtio-blk',
        sizeGiB: 1,
        image: null,
        bootIndex: 1,
        rootPort: 0,
        port: 0,
      },
      ...{ queues: 1, serial: 'a' },
      throttle: {
        ...{ bytesPerSecond: 1, readBytesPerSecond: 1, writeBytesPerSecond: 1, iops: 1, readIops: 1, writeIops: 1 },
        ...{ bytesPerSecondMax: 1, iopsMax: 1, burstSeconds: 1 },
      },
    },
    { id: 'cd0', device: 'cdrom', bus: 'usb', image: null, bootIndex: 2, port: 3 },
  ],
  networks: [
    {
      ...{ id: 'net0', model: 'virtio-net', mac: '52:54:00:00:00:01', network: 'user', restrict: false, bootIndex: 3 },
      ...{ forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }], queues: 1, mtu: 1500, rootPort: 1 },
    },
    {
      ...{
        id: 'net1',
        model: 'virtio-net',
        mac: '52:54:00:00:00:02',
        network: 'bridge',
        bridge: 'br0',
        restrict: false,
      },
      ...{ forwards: [], rateLimit: { inKBps: 1, outKBps: 1 }, rootPort: 2, port: 4 },
    },
  ],
  display: 'virtio-vga',
  displayResolution: { width: 1024, height: 768 },
  displayMemoryMiB: 16,
  usbInput: true,
  inputs: [{ id: 'input0', type: 'mouse', bus: 'virtio', rootPort: 3, port: 5 }],
  usbPorts: 15,
  serial: true,
  channels: [{ id: 'port0', device: 'virtserialport', name: 'a', backend: 'log', port: 5 }],
  agentChannel: true,
  vsock: { cid: 3 },
  rng: true,
  watchdog: { model: 'i6300esb', action: 'reset' },
  shares: [{ id: 'share0', driver: 'virtiofs', tag: 'a', source: '/a', readOnly: true, rootPort: 4 }],
  hostDevices: [
    { id: 'host0', type: 'usb-id', vendor: '1234', product: 'abcd', port: 6 },
    { id: 'host1', type: 'usb-port', hostBus: 1, hostPort: '1', port: 7 },
    { id: 'host2', type: 'pci', address: '0000:01:00.0', rootPort: 5 },
    { id: 'host3', type: 'mdev', uuid: '01234567-89ab-cdef-0123-456789abcdef', rootPort: 6 },
  ],
  properties: { disk0: { 'queue-size': 64 } },
  rawArgs: ['-msg'],
  spareRootPorts: 4,
})
const FACTS = { ...ROOMY, canUnplugCpus: true, sharedMemory: true }

const planTo = (next: VmSpec) => planLive(SAMPLE, next, FACTS)

/** Another value than the present one; whether it makes sense does not matter here. */
function other(value: unknown, values: readonly string[] | null): unknown {
  if (values !== null) return values.find((each) => each !== value)
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') return value + 1
  if (typeof value === 'string') return `${value}1`
  if (Array.isArray(value)) return [...value, ...(value.length === 0 ? ['a'] : [])].slice(value.length === 0 ? 0 : 1)
  return value === null ? 1 : {}
}

function changed(holder: Json, keys: readonly string[], values: readonly string[] | null): Json | null {
  const [key = '', ...rest] = keys
  if (key.endsWith('[]')) {
    const name = key.slice(0, -2)
    const [first, ...more] = holder[name] as readonly Json[]
    const inner = first === undefined ? null : changed(first, rest, values)
    return inner === null ? null : { ...holder, [name]: [inner, ...more] }
  }
  if (!(key in holder)) return null
  if (rest.length === 0) return { ...holder, [key]: other(holder[key], values) }
  const inner = holder[key] === null ? null : changed(holder[key] as Json, rest, values)
  return inner === null ? null : { ...holder, [key]: inner }
}

export interface Live {
  readonly kind: LiveKind
  /** What the device is, where only one of the kinds in its list takes the change; null otherwise. */
  readonly only: string | null
}

const judge = (next: VmSpec): LiveKind => {
  const { steps, pending } = planTo(next)
  if (steps.length === 0 || pending.some(({ waiting }) => waiting !== 'apply')) return 'next-start'
  return steps.every(({ kind }) => kind === 'note') ? 'dashboard' : 'at-once'
}

/** @throws Error when the sample lacks the field, which would make the answer a guess */
export function liveOf({ path, values }: SpecField): Live {
  const [head = '', ...rest] = path.split('.')
  const list = DEVICE_LISTS.find((name) => head === `${name}[]`)
  if (list === undefined) {
    const next = changed(SAMPLE as unknown as Json, [head, ...rest], values)
    if (next === null) throw new Error(`the sample has no ${path}`)
    return { kind: judge(next as unknown as VmSpec), only: null }
  }
  const tried = (SAMPLE[list] as unknown as readonly Json[]).flatMap((device, at) => {
    const next = changed(device, rest, values)
    if (next === null) return []
    const kind = judge({ ...SAMPLE, [list]: SAMPLE[list].map((each, n) => (n === at ? next : each)) } as VmSpec)
    return [{ kind, what: String(device.device ?? device.type ?? '') }]
  })
  if (tried.length === 0) throw new Error(`the sample has no ${path}`)
  // Another id is another device.
  const inPlace = rest.join() === 'id' ? [] : tried.filter(({ kind }) => kind === 'at-once')
  const [first] = inPlace
  if (first === undefined) return { kind: pluggable(list, {}) ? 'device' : 'next-start', only: null }
  return { kind: 'at-once', only: inPlace.length < tried.length && first.what !== '' ? first.what : null }
}

/** Whether one more device of the list, like the first but for `difference`, can be plugged in. */
export function pluggable(list: DeviceList, difference: Json): boolean {
  const like = (SAMPLE[list] as unknown as readonly Json[]).find(
    (device) => difference.device === undefined || list !== 'disks' || device.device === difference.device,
  )
  const free = { rootPort: 8, port: 9 }
  const device = { ...like, ...free, ...difference, id: 'one-more', bootIndex: null }
  const next = { ...SAMPLE, [list]: [...SAMPLE[list], device] } as VmSpec
  return planTo(next).steps.some(({ kind }) => kind === 'plug')
}
