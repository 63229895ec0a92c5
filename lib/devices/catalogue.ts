/**
 * Every family of the definition with what can be chosen in it: the QEMU types behind a choice, whether it is
 * paravirtual or emulates real hardware, for which guests it is the one to take, who may set it and when a running
 * guest gets it. Words are in `lib/i18n/messages/en/devices-*.ts`, found by `family.choice`. Forms and the table in the
 * documentation are made from this; a test compares it with the schema, member by member.
 */
import type { GuestKind } from '../schema/vm-spec.ts'

/** `setting`: no device, only how one behaves. `none`: the choice to do without. */
export type ChoiceKind = 'paravirtual' | 'emulated' | 'passthrough' | 'none' | 'setting'

export interface Choice {
  readonly kind: ChoiceKind
  /** QOM types this QEMU must have; empty when it needs none. */
  readonly types: readonly string[]
  /** Guests it is the one to take for. */
  readonly best: readonly GuestKind[]
  /** What of `CapabilitiesView.offers` it takes besides QEMU. */
  readonly offer?: OfferName
}

export type OfferName =
  | 'uefi'
  | 'secureBoot'
  | 'microvm'
  | 'tpm'
  | 'virtiofs'
  | 'vsock'
  | 'vhostNet'
  | 'bridge'
  | 'rateLimit'
  | 'cpuPinning'
  | 'pciPassthrough'
  | 'usbPassthrough'

/** `at-once`: a running guest gets it. `next-start`: when powered on. `dashboard`: the guest never sees it. */
type Live = 'at-once' | 'next-start' | 'dashboard'

/** Parts of the devices page, in its order. */
export const GROUPS = ['platform', 'storage', 'network', 'screen', 'bus'] as const
export type Group = (typeof GROUPS)[number]

export interface Family {
  readonly group: Group
  /** Fields of the definition: dotted, `[]` for the elements of a list. The first is the one the choices are of. */
  readonly fields: readonly string[]
  /** By the value in the definition; `on` for a switch. Null for numbers, texts and lists. */
  readonly choices: { readonly [value: string]: Choice } | null
  readonly live: Live
  readonly who: 'operator' | 'administrator'
}

type Options = Partial<Pick<Family, 'live' | 'who'>>

const family = (
  group: Group,
  fields: readonly string[],
  choices: Family['choices'],
  { live = 'next-start', who = 'operator' }: Options = {},
): Family => ({ group, fields, choices, live, who })

const choice = (
  kind: ChoiceKind,
  types: readonly string[],
  best: readonly GuestKind[] = [],
  offer?: OfferName,
): Choice => (offer === undefined ? { kind, types, best } : { kind, types, best, offer })
const paravirtual = (types: readonly string[], best?: readonly GuestKind[], offer?: OfferName) =>
  choice('paravirtual', types, best, offer)
const emulated = (types: readonly string[], best?: readonly GuestKind[], offer?: OfferName) =>
  choice('emulated', types, best, offer)
const setting = (best?: readonly GuestKind[], offer?: OfferName) => choice('setting', [], best, offer)
const without = (best?: readonly GuestKind[]) => choice('none', [], best)

const ALL: readonly GuestKind[] = ['linux', 'windows', 'bsd', 'other']
const UNIX: readonly GuestKind[] = ['linux', 'bsd']
const AT_ONCE: Options = { live: 'at-once' }
const ADMIN: Options = { who: 'administrator' }

export const FAMILIES = {
  // Mainboard, firmware, CPU, memory
  guest: family(
    'platform',
    ['guest'],
    { linux: setting(), windows: setting(), bsd: setting(), other: setting() },
    { live: 'dashboard' },
  ),
  accelerator: family('platform', ['accelerator'], { auto: setting(ALL), kvm: setting(), tcg: setting() }),
  machine: family('platform', ['machine'], {
    q35: emulated(['q35-pcihost'], ALL),
    pc: emulated(['i440FX-pcihost']),
    microvm: emulated(['microvm-machine'], [], 'microvm'),
  }),
  firmware: family('platform', ['firmware'], {
    bios: emulated([], ['linux', 'bsd', 'other']),
    uefi: emulated(['cfi.pflash01'], ['windows'], 'uefi'),
  }),
  secureBoot: family('platform', ['secureBoot'], { on: emulated(['cfi.pflash01'], ['windows'], 'secureBoot') }),
  tpm: family('platform', ['tpm'], {
    none: without(['linux', 'bsd', 'other']),
    'tpm-crb': emulated(['tpm-crb', 'tpm-emulator'], ['windows'], 'tpm'),
    'tpm-tis': emulated(['tpm-tis', 'tpm-emulator'], [], 'tpm'),
  }),
  iommu: family('platform', ['iommu'], {
    none: without(ALL),
    intel: emulated(['intel-iommu']),
    virtio: paravirtual(['virtio-iommu-pci']),
  }),
  bootOrder: family('platform', ['bootMenu', 'disks[].bootIndex', 'networks[].bootIndex'], { on: setting() }, AT_ONCE),
  smbios: family(
    'platform',
    ['manufacturer', 'product', 'version', 'serial', 'sku', 'family', 'oemStrings'].map((name) => `smbios.${name}`),
    null,
  ),
  clock: family('platform', ['clock'], { utc: setting(['linux', 'bsd', 'other']), localtime: setting(['windows']) }),
  clockOffset: family('platform', ['clockOffsetSeconds'], null),
  hyperv: family('platform', ['hyperv'], { on: paravirtual([], ['windows']) }),
  directKernel: family(
    'platform',
    ['directKernel.kernel', 'directKernel.initrd', 'directKernel.commandLine'],
    null,
    ADMIN,
  ),
  pvpanic: family('platform', ['pvpanic'], { on: paravirtual(['pvpanic-pci']) }),
  generationId: family('platform', ['generationId'], { on: paravirtual(['vmgenid'], ['linux', 'windows']) }),
  watchdog: family('platform', ['watchdog.model'], {
    i6300esb: emulated(['i6300esb'], ['linux', 'windows']),
    itco: emulated(['ICH9-LPC']),
  }),
  watchdogAction: family(
    'platform',
    ['watchdog.action'],
    {
      reset: setting(ALL),
      shutdown: setting(),
      poweroff: setting(),
      pause: setting(),
      'inject-nmi': setting(),
      none: setting(),
    },
    AT_ONCE,
  ),
  spareRootPorts: family('platform', ['spareRootPorts'], null),
  cpuModel: family('platform', ['cpuModel'], { auto: setting(ALL), named: setting() }),
  cpuFlags: family('platform', ['cpuFlags[].name', 'cpuFlags[].enabled'], null),
  cpuCount: family('platform', ['cpus', 'maxCpus'], null, AT_ONCE),
  topology: family('platform', ['topology.sockets', 'topology.cores', 'topology.threads'], null),
  pinning: family('platform', ['pinning[].vcpu', 'pinning[].hostCpus'], null),
  numa: family('platform', ['numa[].cpus', 'numa[].memoryMiB', 'numa[].hostNodes'], null),
  memory: family('platform', ['memoryMiB', 'memoryMaxMiB'], null),
  dimms: family('platform', ['dimms[].sizeMiB', 'dimms[].id'], { on: emulated(['pc-dimm']) }, AT_ONCE),
  virtioMem: family(
    'platform',
    ['virtioMem.sizeMiB', 'virtioMem.requestedMiB'],
    { on: paravirtual(['virtio-mem-pci'], ['linux']) },
    AT_ONCE,
  ),
  hugePages: family('platform', ['hugePages'], {
    none: without(ALL),
    '2M': choice('setting', ['memory-backend-memfd']),
    '1G': choice('setting', ['memory-backend-memfd']),
  }),
  balloon: family(
    'platform',
    ['balloon', 'balloonTargetMiB'],
    { on: paravirtual(['virtio-balloon-pci'], ALL) },
    AT_ONCE,
  ),
  freePageReporting: family('platform', ['freePageReporting'], { on: paravirtual(['virtio-balloon-pci'], ALL) }),
  hostShare: family('platform', ['cpuWeight', 'cpuLimit', 'ioWeight', 'memoryCap'], null, { live: 'dashboard' }),
  notes: family('platform', ['name', 'description', 'tags', 'autostart'], null, { live: 'dashboard' }),

  // Drives
  drive: family(
    'storage',
    [
      'disks[].device',
      'disks[].id',
      'disks[].image',
      'disks[].seed',
      'disks[].sizeGiB',
      'disks[].rootPort',
      'disks[].port',
    ],
    { disk: setting(), cdrom: setting() },
    AT_ONCE,
  ),
  diskBus: family('storage', ['disks[].bus'], {
    'virtio-blk': paravirtual(['virtio-blk-pci'], UNIX),
    'virtio-scsi': paravirtual(['virtio-scsi-pci', 'scsi-hd']),
    nvme: emulated(['nvme']),
    sata: emulated(['ich9-ahci', 'ide-hd'], ['windows', 'other']),
    ide: emulated(['piix3-ide', 'ide-hd']),
    usb: emulated(['usb-storage']),
  }),
  cdBus: family('storage', ['disks[].bus'], {
    sata: emulated(['ich9-ahci', 'ide-cd'], ALL),
    ide: emulated(['piix3-ide', 'ide-cd']),
    'virtio-scsi': paravirtual(['virtio-scsi-pci', 'scsi-cd']),
    usb: emulated(['usb-bot', 'scsi-cd']),
  }),
  cache: family('storage', ['disks[].cache'], {
    writeback: setting(ALL),
    none: setting(),
    writethrough: setting(),
    directsync: setting(),
    unsafe: setting(),
  }),
  aio: family('storage', ['disks[].aio'], { threads: setting(ALL), native: setting(), io_uring: setting() }),
  discard: family('storage', ['disks[].discard'], { unmap: setting(ALL), ignore: setting() }),
  detectZeroes: family('storage', ['disks[].detectZeroes'], { off: setting(), on: setting(), unmap: setting(ALL) }),
  ioThread: family('storage', ['disks[].ioThread'], { on: choice('setting', ['iothread']) }),
  diskQueues: family('storage', ['disks[].queues'], null),
  diskSerial: family('storage', ['disks[].serial'], null),
  readOnly: family('storage', ['disks[].readOnly'], { on: setting() }),
  shared: family('storage', ['disks[].shared'], { on: setting() }),
  throttle: family(
    'storage',
    [
      'bytesPerSecond',
      'readBytesPerSecond',
      'writeBytesPerSecond',
      'iops',
      'readIops',
      'writeIops',
      'bytesPerSecondMax',
      'iopsMax',
      'burstSeconds',
    ].map((name) => `disks[].throttle.${name}`),
    null,
    AT_ONCE,
  ),
  werror: family('storage', ['disks[].werror'], {
    stop: setting(ALL),
    report: setting(),
    enospc: setting(),
    ignore: setting(),
  }),

  // Network cards
  cardModel: family(
    'network',
    ['networks[].model', 'networks[].id', 'networks[].rootPort', 'networks[].port'],
    {
      'virtio-net': paravirtual(['virtio-net-pci'], UNIX),
      e1000e: emulated(['e1000e'], ['windows', 'other']),
      e1000: emulated(['e1000']),
      rtl8139: emulated(['rtl8139']),
      vmxnet3: emulated(['vmxnet3']),
      'usb-net': emulated(['usb-net']),
    },
    AT_ONCE,
  ),
  network: family('network', ['networks[].network', 'networks[].bridge'], {
    user: setting(ALL),
    bridge: setting([], 'bridge'),
    none: without(),
  }),
  restrict: family('network', ['networks[].restrict'], { on: setting() }),
  forwards: family(
    'network',
    ['networks[].forwards[].protocol', 'networks[].forwards[].hostPort', 'networks[].forwards[].guestPort'],
    { tcp: setting(), udp: setting() },
    AT_ONCE,
  ),
  link: family('network', ['networks[].link'], { on: setting(ALL) }, AT_ONCE),
  mac: family('network', ['networks[].mac'], null),
  netQueues: family('network', ['networks[].queues'], null),
  mtu: family('network', ['networks[].mtu'], null),
  vhost: family('network', ['networks[].vhost'], { on: setting([], 'vhostNet') }),
  rateLimit: family('network', ['networks[].rateLimit.inKBps', 'networks[].rateLimit.outKBps'], null, AT_ONCE),

  // Screen, input, sound, USB
  display: family('screen', ['display'], {
    'virtio-vga': paravirtual(['virtio-vga'], ['linux', 'windows']),
    'virtio-gpu': paravirtual(['virtio-gpu-pci']),
    std: emulated(['VGA'], ['bsd', 'other']),
    qxl: paravirtual(['qxl-vga']),
    ramfb: emulated(['ramfb']),
    bochs: emulated(['bochs-display']),
    none: without(),
  }),
  displayHeads: family('screen', ['displayHeads'], null),
  displayResolution: family('screen', ['displayResolution.width', 'displayResolution.height'], null),
  displayMemory: family('screen', ['displayMemoryMiB'], null),
  usbInput: family('screen', ['usbInput'], { on: emulated(['usb-tablet', 'usb-kbd'], ALL) }),
  inputType: family(
    'screen',
    ['inputs[].type', 'inputs[].id', 'inputs[].rootPort', 'inputs[].port'],
    { tablet: setting(), keyboard: setting(), mouse: setting(), multitouch: setting() },
    AT_ONCE,
  ),
  inputBus: family('screen', ['inputs[].bus'], {
    usb: emulated(['usb-tablet'], ALL),
    virtio: paravirtual(['virtio-tablet-pci']),
  }),
  ps2: family('screen', ['ps2'], { on: emulated(['i8042']) }),
  usbController: family('screen', ['usbController'], {
    'qemu-xhci': emulated(['qemu-xhci'], ALL),
    'nec-usb-xhci': emulated(['nec-usb-xhci']),
    ehci: emulated(['ich9-usb-ehci1', 'ich9-usb-uhci1']),
    uhci: emulated(['piix3-usb-uhci']),
    none: without(),
  }),
  usbPorts: family('screen', ['usbPorts'], null),
  sound: family('screen', ['sound'], {
    none: without(ALL),
    hda: emulated(['ich9-intel-hda', 'hda-duplex']),
    ac97: emulated(['AC97']),
    'virtio-sound': paravirtual(['virtio-sound-pci']),
  }),
  clipboard: family('screen', ['clipboard'], { on: paravirtual(['chardev-qemu-vdagent', 'virtserialport']) }),

  // Channels and helpers
  serial: family('bus', ['serial'], { on: emulated([], ALL) }),
  serialDevice: family('bus', ['serialDevice'], {
    'isa-serial': emulated(['isa-serial'], ALL),
    'pci-serial': emulated(['pci-serial']),
    virtconsole: paravirtual(['virtconsole']),
  }),
  channelDevice: family(
    'bus',
    ['channels[].device', 'channels[].id', 'channels[].name', 'channels[].port'],
    {
      virtserialport: paravirtual(['virtserialport'], ALL),
      virtconsole: paravirtual(['virtconsole']),
      'isa-serial': emulated(['isa-serial']),
    },
    AT_ONCE,
  ),
  channelBackend: family('bus', ['channels[].backend'], { socket: setting(ALL), log: setting() }),
  agentChannel: family('bus', ['agentChannel'], { on: paravirtual(['virtserialport'], ALL) }),
  vsock: family('bus', ['vsock.cid'], { on: paravirtual(['vhost-vsock-pci'], [], 'vsock') }),
  rng: family('bus', ['rng'], { on: paravirtual(['virtio-rng-pci'], ALL) }),
  shareDriver: family(
    'bus',
    ['shares[].driver', 'shares[].id', 'shares[].tag', 'shares[].source', 'shares[].readOnly', 'shares[].rootPort'],
    {
      virtiofs: paravirtual(['vhost-user-fs-pci'], ['linux'], 'virtiofs'),
      '9p': paravirtual(['virtio-9p-pci']),
    },
    { live: 'at-once', who: 'administrator' },
  ),
  hostDevice: family(
    'bus',
    [
      'hostDevices[].type',
      'hostDevices[].id',
      'hostDevices[].vendor',
      'hostDevices[].product',
      'hostDevices[].hostBus',
      'hostDevices[].hostPort',
      'hostDevices[].port',
      'hostDevices[].address',
      'hostDevices[].uuid',
      'hostDevices[].rootPort',
    ],
    {
      'usb-id': choice('passthrough', ['usb-host'], [], 'usbPassthrough'),
      'usb-port': choice('passthrough', ['usb-host'], [], 'usbPassthrough'),
      pci: choice('passthrough', ['vfio-pci'], [], 'pciPassthrough'),
      mdev: choice('passthrough', ['vfio-pci'], [], 'pciPassthrough'),
    },
    { live: 'at-once', who: 'administrator' },
  ),
  properties: family('bus', ['properties'], null),
  rawArgs: family('bus', ['rawArgs'], null, ADMIN),
} as const satisfies Record<string, Family>

export type FamilyId = keyof typeof FAMILIES

/** The family by its name, with its choices open to any value. */
export const familyOf = (id: FamilyId): Family => FAMILIES[id]
