/**
 * Names and PCI places the compiler gives to QEMU objects. They are guest-visible ABI or part of QMP commands
 * (`qom-get /machine/peripheral/balloon0`), so they never change for an existing VM; golden files guard them.
 *
 * Spec device ids (`disk0`, `net0`) become QEMU device ids unchanged and hold no dot. Back ends get a dotted name
 * derived from them, so the two can never meet. QEMU cuts node names at 31 bytes: 24 + `.10f` fits.
 */

export const QEMU_IDS = {
  memory: 'ram0',
  video: 'video0',
  vnc: 'vnc0',
  usb: 'usb',
  tablet: 'tablet0',
  keyboard: 'kbd0',
  serialPort: 'serial0',
  serialChardev: 'serial0.sock',
  virtioSerial: 'vser0',
  agentPort: 'agent0',
  agentChardev: 'agent0.sock',
  rng: 'rng0',
  rngSource: 'rng0.source',
  balloon: 'balloon0',
  monitor: 'mon0',
  monitorRescue: 'mon1',
  firmwareCode: 'pflash0',
  firmwareVars: 'pflash1',
  scsi: 'scsi0',
  scsiThread: 'scsi0.io',
  sound: 'sound0',
  soundCodec: 'sound0.codec',
  audio: 'audio0',
  clipboardPort: 'vdagent0',
  clipboardChardev: 'vdagent0.vd',
  vsock: 'vsock0',
  watchdog: 'wdt0',
  pvpanic: 'pvpanic0',
  generation: 'vmgenid0',
  iommu: 'iommu0',
  tpm: 'tpm0',
  tpmBackend: 'tpm0.emu',
  tpmChardev: 'tpm0.sock',
  virtioMem: 'vmem0',
  virtioMemBackend: 'vmem0.ram',
  ahci: 'ahci0',
} as const

const RESERVED =
  /^(ram[0-9]+|video0|vnc0|usb|tablet0|kbd0|serial0|vser0|agent0|rng0|balloon0|mon[0-9]+|pflash[0-9]|rp[0-9]+|scsi0|sound0|audio0|vdagent0|vsock0|wdt0|pvpanic0|vmgenid0|iommu0|tpm0|vmem0|ahci0|cpu-[0-9]+|ide|isa)$/

/** True for ids that a disk or network card may not take because the compiler uses them itself. */
export const isReservedId = (id: string): boolean => RESERVED.test(id)

/** Root port `n` as a QEMU device id; the bus of the same name carries the device. */
export const rootPortId = (port: number): string => `rp${port}`

/** Format node of layer `depth` of a drive's chain (0 is the top, what the device reads). */
export const formatNode = (deviceId: string, depth: number): string => `${deviceId}.${depth}`
/** File node below `formatNode`. */
export const fileNode = (deviceId: string, depth: number): string => `${deviceId}.${depth}f`

/** Filter node above `formatNode(id, 0)` that holds a disk to its limits. */
export const throttleNode = (deviceId: string): string => `${deviceId}.t`
export const throttleGroupId = (deviceId: string): string => `${deviceId}.tg`
/** I/O thread of a virtio disk. */
export const ioThreadId = (deviceId: string): string => `${deviceId}.io`
/** USB bridge that carries the SCSI drive of a USB CD drive. */
export const usbBridgeId = (deviceId: string): string => `${deviceId}.usb`

export const netdevId = (deviceId: string): string => `${deviceId}.net`

/** Slots on `pcie.0`. 0x1f holds q35's own LPC bridge, AHCI and SMBus; 0 is the host bridge. */
export const SLOTS = {
  video: '0x1',
  /** Root ports take four slots of eight functions. */
  rootPortsFirst: 2,
  virtioSerial: '0x8',
  balloon: '0x9',
  rng: '0xa',
  usb: '0xb',
  virtioMem: '0xc',
  scsi: '0xd',
  sound: '0xe',
  watchdog: '0xf',
  vsock: '0x10',
  iommu: '0x11',
  pvpanic: '0x12',
  serialCard: '0x13',
} as const

/** Slots on `pci.0` of a pc machine: 0 and 1 are the mainboard's, 0x10 and up are for hot-pluggable devices. */
export const PC_SLOTS = {
  video: '0x2',
  serialCard: '0x3',
  ahci: '0x4',
  pvpanic: '0x5',
  vsock: '0x6',
  iommu: '0x7',
  virtioSerial: '0x8',
  balloon: '0x9',
  rng: '0xa',
  usb: '0xb',
  virtioMem: '0xc',
  scsi: '0xd',
  sound: '0xe',
  watchdog: '0xf',
} as const

export const MAX_ROOT_PORTS = 32
export const SATA_PORTS = 6
export const IDE_PORTS = 4
