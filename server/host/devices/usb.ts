/** USB devices of the host from /sys/bus/usb, and which of them a guest could have. */
import type { UsbDevice } from '#lib/schema/host-devices.ts'
import { readHardwareNames } from './names.ts'
import type { Tree } from './tree.ts'
import { type Use, usesBelow } from './uses.ts'

const DEVICES = 'sys/bus/usb/devices'
/** Bus and ports, or the root hub of a bus. Interfaces have a colon. */
const DEVICE = /^(?:usb(\d+)|(\d+)-([\d.]+))$/
const HUB_CLASS = '09'

/** Interface class codes (usb.org, Defined Class Codes). */
const KINDS: { readonly [code: string]: string } = {
  '01': 'audio',
  '02': 'communication',
  '03': 'input',
  '05': 'physical',
  '06': 'camera',
  '07': 'printer',
  '08': 'storage',
  '09': 'hub',
  '0a': 'communication',
  '0b': 'smart card',
  '0d': 'content security',
  '0e': 'video',
  '0f': 'health',
  '10': 'audio and video',
  dc: 'diagnostic',
  e0: 'wireless',
  ef: 'several',
  fe: 'special',
  ff: "the maker's own",
}

type Raw = Omit<UsbDevice, 'assignable' | 'reason'>

export async function readUsb(tree: Tree, uses: readonly Use[]): Promise<UsbDevice[]> {
  const raw = tree
    .list(DEVICES)
    .map((path) => readDevice(tree, path, uses))
    .filter((device) => device !== null)
  const names = await readHardwareNames(tree, 'usb.ids', new Set(raw.map((device) => device.vendorId)))
  return raw.map((device) => {
    const reason = whyNot(device)
    return {
      ...device,
      vendorName: device.vendorName ?? names.vendor(device.vendorId),
      productName: device.productName ?? names.device(device.vendorId, device.productId),
      assignable: reason === null,
      reason,
    }
  })
}

function readDevice(tree: Tree, path: string, uses: readonly Use[]): Raw | null {
  const match = DEVICE.exec(path)
  if (match === null) return null
  const dir = `${DEVICES}/${path}`
  const vendorId = tree.text(`${dir}/idVendor`)
  const productId = tree.text(`${dir}/idProduct`)
  // Unplugged meanwhile.
  if (vendorId === null || productId === null) return null
  const interfaces = tree.list(dir).filter((name) => name.startsWith(`${path}:`) || /^\d+-0:/.test(name))
  const isHub = tree.text(`${dir}/bDeviceClass`) === HUB_CLASS
  const speed = Number(tree.text(`${dir}/speed`) ?? Number.NaN)
  return {
    path,
    bus: Number(match[1] ?? match[2]),
    port: match[3] ?? '',
    address: tree.int(`${dir}/devnum`) ?? 0,
    vendorId: vendorId.toLowerCase(),
    productId: productId.toLowerCase(),
    vendorName: tree.text(`${dir}/manufacturer`) || null,
    productName: tree.text(`${dir}/product`) || null,
    speedMbps: Number.isFinite(speed) ? speed : null,
    isHub,
    kinds: unique(interfaces.map((name) => kindOf(tree, `${dir}/${name}`))),
    drivers: unique(interfaces.map((name) => tree.link(`${dir}/${name}/driver`))),
    // Below a hub lies what is plugged into it.
    usedFor: isHub ? [] : usesBelow(uses, tree.real(dir)),
  }
}

function kindOf(tree: Tree, dir: string): string | null {
  const code = tree.text(`${dir}/bInterfaceClass`)
  if (code === null) return null
  // The boot protocol tells the two apart (HID 1.11, 4.3); a gamepad or a tablet has none.
  const protocol = code === '03' ? tree.text(`${dir}/bInterfaceProtocol`) : null
  if (protocol === '01') return 'keyboard'
  if (protocol === '02') return 'mouse'
  return KINDS[code.toLowerCase()] ?? null
}

function unique(names: readonly (string | null)[]): string[] {
  return [...new Set(names.filter((name) => name !== null))]
}

function whyNot(device: Raw): string | null {
  if (device.port === '') return 'The root of a bus belongs to the host.'
  if (device.isHub) return 'A hub stays with the host; what is plugged into it can be handed out.'
  if (device.usedFor.length > 0) return `The host uses it: ${device.usedFor.join(', ')}.`
  return null
}
