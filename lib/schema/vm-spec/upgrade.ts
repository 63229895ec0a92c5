/** Definitions stored by older releases, completed with what they meant then; current ones pass unchanged. */
import * as z from 'zod'
import { VmSpec } from '../vm-spec.ts'

type Fields = Readonly<Record<string, unknown>>

/** Every field that came after the first release, with the value that leaves such a guest's hardware as it was. */
const ADDED: Fields = {
  secureBoot: false,
  tpm: 'none',
  bootMenu: false,
  smbios: null,
  clockOffsetSeconds: 0,
  hyperv: false,
  iommu: 'none',
  directKernel: null,
  ps2: true,
  pvpanic: false,
  generationId: false,
  topology: null,
  cpuFlags: [],
  pinning: [],
  numa: [],
  memoryMaxMiB: null,
  dimms: [],
  virtioMem: null,
  hugePages: 'none',
  balloonTargetMiB: null,
  freePageReporting: true,
  cpuWeight: 100,
  cpuLimit: null,
  ioWeight: 100,
  memoryCap: true,
  displayHeads: 1,
  displayResolution: null,
  displayMemoryMiB: null,
  inputs: [],
  usbController: 'qemu-xhci',
  usbPorts: 4,
  sound: 'none',
  clipboard: false,
  serialDevice: 'isa-serial',
  channels: [],
  vsock: null,
  watchdog: null,
  shares: [],
  hostDevices: [],
  properties: {},
  rawArgs: [],
}

const ADDED_TO_DISK: Fields = {
  port: null,
  cache: 'writeback',
  aio: 'threads',
  discard: 'unmap',
  detectZeroes: 'unmap',
  ioThread: false,
  queues: null,
  serial: null,
  readOnly: false,
  shared: false,
  throttle: null,
  werror: 'stop',
}

const ADDED_TO_CDROM: Fields = { seed: null }

const ADDED_TO_CARD: Fields = {
  bridge: null,
  link: true,
  bootIndex: null,
  queues: null,
  mtu: null,
  vhost: false,
  rateLimit: null,
  port: null,
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const each = (list: unknown, complete: (element: Fields) => Fields): unknown =>
  Array.isArray(list) ? list.map((element) => (isFields(element) ? complete(element) : element)) : list

/** Pure; what is no definition at all is returned as it is, for the schema to refuse. */
export function upgradeSpec(stored: unknown): unknown {
  if (!isFields(stored)) return stored
  return {
    ...ADDED,
    // Without hotplug there was no room for more CPUs than the guest had.
    maxCpus: stored.cpus,
    ...stored,
    disks: each(stored.disks, (drive) => ({
      ...(drive.device === 'disk' ? ADDED_TO_DISK : ADDED_TO_CDROM),
      ...drive,
    })),
    networks: each(stored.networks, (card) => ({ ...ADDED_TO_CARD, ...card })),
  }
}

/** `VmSpec` as read from disk: of this release or an older one. */
export const StoredVmSpec = z.preprocess(upgradeSpec, VmSpec)
