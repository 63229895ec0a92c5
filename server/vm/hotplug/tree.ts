/** The hardware of a running guest, put together from what QEMU tells of its buses. Reads only. */
import * as z from 'zod'
import type { QmpJson } from '#server/qmp/types.ts'
import type { Guest } from '../guest.ts'
import { ask } from './ask.ts'
import type { FoundDevice } from './types.ts'

const Int = z.union([z.number(), z.bigint()])
const Region = z.object({
  bar: z.number(),
  type: z.enum(['memory', 'io']),
  address: Int,
  size: Int,
  prefetch: z.boolean().optional(),
})
/** qapi/pci.json, PciDeviceInfo. */
const PciDevice = z.object({
  bus: z.number(),
  slot: z.number(),
  function: z.number(),
  class_info: z.object({ desc: z.string().optional(), class: z.number() }),
  id: z.object({ vendor: z.number(), device: z.number() }),
  irq: z.number().optional(),
  qdev_id: z.string(),
  regions: z.array(Region),
  get pci_bridge() {
    return z.object({ devices: z.array(PciDevice).optional() }).optional()
  },
})
type PciDevice = z.output<typeof PciDevice>
const PciBuses = z.array(z.object({ devices: z.array(PciDevice) }))
const Peripherals = z.array(z.object({ name: z.string(), type: z.string() }))
const MemoryDevices = z.array(
  z.object({ type: z.string(), data: z.object({ id: z.string().optional(), size: Int, slot: z.number().optional() }) }),
)
const Cpus = z.array(
  z.object({ type: z.string(), 'qom-path': z.string().optional(), props: z.record(z.string(), z.json()) }),
)

export interface TreeReplies {
  readonly pci: QmpJson
  readonly peripherals: QmpJson
  /** Answer of the monitor's `info usb`. */
  readonly usb: QmpJson
  readonly memory: QmpJson
  readonly cpus: QmpJson
  /** QOM path of the bus each peripheral sits on. */
  readonly parentBus: ReadonlyMap<string, string>
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** What the mainboards bring themselves has no id; QEMU's names by vendor and device (hw/pci-host, hw/isa, hw/i2c). */
const ONBOARD: Readonly<Record<string, string>> = {
  '8086:29c0': 'mch',
  '8086:2918': 'ICH9-LPC',
  '8086:2922': 'ich9-ahci',
  '8086:2930': 'ICH9-SMB',
  '8086:1237': 'i440FX',
  '8086:7000': 'PIIX3',
  '8086:7010': 'piix3-ide',
  '8086:7113': 'PIIX4_PM',
}
const SATA_OR_IDE = new Set(['8086:2922', '8086:7010'])
const ISA_BRIDGES = new Set(['8086:2918', '8086:7000'])
/** As QEMU prints an address that has not been set: all bits, as a signed or unsigned number. */
const isUnset = (address: number | bigint): boolean =>
  address === -1 || BigInt.asUintN(64, BigInt(address)) === 2n ** 64n - 1n

/** Pure. @throws ZodError for replies of an unknown shape */
export function assembleTree(replies: TreeReplies): FoundDevice[] {
  const types = new Map(
    Peripherals.parse(replies.peripherals).flatMap(({ name, type }) => {
      const match = /^child<(.+)>$/.exec(type)
      return match?.[1] === undefined ? [] : [[name, match[1]] as const]
    }),
  )
  const found = new Map<string, FoundDevice>()
  const add = (device: FoundDevice) => found.set(device.key, device)

  const walk = (devices: readonly PciDevice[], parent: string | null) => {
    for (const device of devices) {
      const address = `${hex(device.bus, 2)}:${hex(device.slot, 2)}.${device.function}`
      const pciId = `${hex(device.id.vendor, 4)}:${hex(device.id.device, 4)}`
      const id = device.qdev_id === '' ? null : device.qdev_id
      const key = id ?? address
      add({
        key,
        id,
        type: (id === null ? ONBOARD[pciId] : types.get(id)) ?? 'unknown',
        address,
        description: device.class_info.desc ?? null,
        pciId,
        pci: {
          classCode: hex(device.class_info.class, 4),
          irq: device.irq === undefined || device.irq === 0 ? null : device.irq,
          regions: device.regions.map(({ bar, type, address: at, size, prefetch }) => ({
            bar,
            type,
            address: isUnset(at) ? null : `0x${BigInt(at).toString(16)}`,
            sizeBytes: Number(size),
            prefetchable: prefetch ?? false,
          })),
        },
        parent,
        bus: 'pci',
      })
      walk(device.pci_bridge?.devices ?? [], key)
    }
  }
  for (const { devices } of PciBuses.parse(replies.pci)) walk(devices, null)
  const onboard = (ids: ReadonlySet<string>): string | null =>
    [...found.values()].find((device) => device.id === null && ids.has(device.pciId ?? ''))?.key ?? null

  const usb = readUsb(replies.usb)
  const memory = new Map(MemoryDevices.parse(replies.memory).map(({ type, data }) => [data.id ?? '', { type, data }]))
  for (const [id, type] of types) {
    if (found.has(id)) {
      const module = memory.get(id)
      const device = found.get(id)
      if (module && device) add({ ...device, description: sizeInWords(module.data.size) })
      continue
    }
    const path = replies.parentBus.get(id) ?? ''
    const bus = path.split('/').at(-1) ?? ''
    const plain = { key: id, id, type, pciId: null, pci: null }
    const owner = /^\/machine\/peripheral\/([^/]+)\//.exec(path)?.[1] ?? null
    const module = memory.get(id)
    if (module !== undefined) {
      const slot = module.data.slot === undefined ? null : String(module.data.slot)
      add({ ...plain, address: slot, description: sizeInWords(module.data.size), parent: null, bus: 'memory' })
    } else if (usb.has(id) || /^usb-/.test(type)) {
      const line = usb.get(id)
      add({ ...plain, address: line?.port ?? null, description: line?.product ?? null, parent: owner, bus: 'usb' })
    } else if (/^ide-/.test(type)) {
      const parent = owner ?? onboard(SATA_OR_IDE)
      const kind = found.get(parent ?? '')?.pciId === '8086:7010' ? 'ide' : 'sata'
      add({ ...plain, address: bus === '' ? null : bus, description: null, parent, bus: kind })
    } else if (/^scsi-/.test(type)) {
      add({ ...plain, address: bus === '' ? null : bus, description: null, parent: owner, bus: 'scsi' })
    } else if (/^virt(serialport|console)$/.test(type)) {
      add({ ...plain, address: bus === '' ? null : bus, description: null, parent: owner, bus: 'virtio-serial' })
    } else if (/-x86_64-cpu$/.test(type)) {
      // Told by the list of CPUs.
    } else {
      const isPci = types.get(owner ?? '') === 'pcie-root-port' || /^pcie?\.0$/.test(bus)
      const parent = owner ?? (bus === 'isa.0' ? onboard(ISA_BRIDGES) : null)
      // The firmware has not numbered the bus yet, so that QEMU cannot tell the address.
      add({
        ...plain,
        address: isPci || bus === '' ? null : bus,
        description: null,
        parent,
        bus: isPci ? 'pci' : 'other',
      })
    }
  }
  for (const cpu of Cpus.parse(replies.cpus)) {
    const path = cpu['qom-path']
    if (path === undefined) continue
    const id = /^\/machine\/peripheral\/([^/]+)$/.exec(path)?.[1] ?? null
    const place = ['socket', 'die', 'core', 'thread'].flatMap((part) => {
      const n = cpu.props[`${part}-id`]
      return typeof n === 'number' ? [`${part} ${n}`] : []
    })
    add({
      key: id ?? path,
      id,
      type: cpu.type,
      address: place.join(', ') || null,
      description: null,
      pciId: null,
      pci: null,
      parent: null,
      bus: 'cpu',
    })
  }
  return [...found.values()]
}

const sizeInWords = (bytes: number | bigint): string => `${Number(bytes) / 2 ** 20} MiB`

/** Lines such as `  Device 0.1, Port 1, Speed 480 Mb/s, Product QEMU USB Tablet, ID: tablet0` (hw/usb/bus.c). */
function readUsb(answer: QmpJson): Map<string, { port: string; product: string }> {
  const devices = new Map<string, { port: string; product: string }>()
  if (typeof answer !== 'string') return devices
  for (const line of answer.split(/\r?\n/)) {
    const match = /Port ([\d.]+), .*?Product (.*), ID: (\S+)\s*$/.exec(line)
    if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) continue
    devices.set(match[3], { port: match[1], product: match[2].replace(/[^\x20-\x7e]/g, '?') })
  }
  return devices
}

/** @throws QmpError */
export async function readDevices(guest: Guest): Promise<FoundDevice[]> {
  const none = () => []
  const [peripherals, pci, usb, memory, cpus] = await Promise.all([
    ask(guest, 'qom-list', { path: '/machine/peripheral' }),
    ask(guest, 'query-pci').catch(none),
    ask(guest, 'human-monitor-command', { 'command-line': 'info usb' }).catch(() => ''),
    ask(guest, 'query-memory-devices').catch(none),
    // microvm has no list of CPUs that could be plugged.
    ask(guest, 'query-hotpluggable-cpus').catch(none),
  ])
  const names = Peripherals.parse(peripherals).flatMap(({ name, type }) => (type.startsWith('child<') ? [name] : []))
  const parentBus = new Map<string, string>()
  await Promise.all(
    names.map(async (name) => {
      const path = await ask(guest, 'qom-get', { path: `/machine/peripheral/${name}`, property: 'parent_bus' }).catch(
        () => null,
      )
      if (typeof path === 'string') parentBus.set(name, path)
    }),
  )
  return assembleTree({ pci, peripherals, usb, memory, cpus, parentBus })
}
