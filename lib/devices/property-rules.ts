/**
 * Which properties of devices may be set by hand, and to what. Names, types and ranges are those QEMU reports
 * (`device-list-properties`); refused are those the definition sets itself and those that reach out of the guest.
 */
import type { DeviceProperty } from '../schema/host.ts'

/** Set by the compiler: another value would take the device from its place or its back end. */
const MANAGED: ReadonlySet<string> = new Set([
  ...[
    'id',
    'bus',
    'addr',
    'busnr',
    'port',
    'nr',
    'index',
    'cad',
    'lun',
    'unit',
    'scsi-id',
    'channel',
    'slot',
    'chassis',
  ],
  ...['multifunction', 'masterbus', 'firstport', 'drive', 'netdev', 'chardev', 'audiodev', 'fsdev', 'rng', 'memdev'],
  ...['iothread', 'iothread-vq-mapping', 'mac', 'bootindex', 'tag', 'mount_tag', 'name', 'guest-cid', 'hotpluggable'],
  ...['failover', 'failover_pair_id', 'sriov-pf', 'share-rw', 'physical_block_size_file', 'vf-token', 'iommufd'],
])

/** Lead to files, devices or descriptors of the host. */
const REACHES_OUT: ReadonlySet<string> = new Set([
  ...[
    'romfile',
    'vhostfd',
    'vhostfds',
    'fd',
    'fds',
    'sysfsdev',
    'host',
    'hostdevice',
    'hostbus',
    'hostaddr',
    'hostport',
  ],
  ...['vendorid', 'productid', 'filename', 'file', 'path', 'mem-path', 'pcap', 'logfile', 'shm', 'socket', 'dumpdtb'],
  ...['kernel', 'initrd', 'dtb', 'firmware', 'script', 'downscript', 'memory-region'],
])

/** Make QEMU write about everything the guest does, without end. */
const CHATTY: ReadonlySet<string> = new Set(['debug', 'guestdebug', 'cmdlog', 'loglevel', 'log', 'trace'])

/** Texts that only the guest sees. All others may name something of the host. */
const HARMLESS_TEXTS: ReadonlySet<string> = new Set(['serial', 'product', 'vendor', 'ver', 'model', 'device_id'])

const INTEGER = /^u?int[0-9]*$|^size$/

/** Why nobody may set this property by hand; null when nothing speaks against the name. */
export function refusedName(name: string): string | null {
  const plain = name.replaceAll('_', '-')
  if (name === 'scsi')
    return 'It would pass SCSI commands of the guest to the host’s disk, which guests have used to break out.'
  if (plain.startsWith('x-')) return 'QEMU marks it as an experiment (x-): it may vanish or break the guest any time.'
  if (MANAGED.has(name) || MANAGED.has(plain)) return 'The definition sets it through fields of its own.'
  if (REACHES_OUT.has(name) || REACHES_OUT.has(plain) || /(?:^|-)(?:fds?|file|path)$/.test(plain))
    return 'It reaches files or devices of the host, which only fields of the definition may name.'
  if (CHATTY.has(name)) return 'It makes QEMU write messages without end.'
  return null
}

/** As `device-list-properties` gives it. */
type Property = Readonly<Omit<DeviceProperty, 'values'>> & { readonly values: readonly string[] | null }
type Kind = 'choice' | 'switch' | 'number' | 'text'

/** What a form offers for the property; null when its type may name something of the host. */
export function kindOfProperty({ name, type, values }: Pick<Property, 'name' | 'type' | 'values'>): Kind | null {
  if (values !== null) return 'choice'
  if (type === 'bool') return 'switch'
  if (INTEGER.test(type)) return 'number'
  return type === 'str' && HARMLESS_TEXTS.has(name) ? 'text' : null
}

/** Why the property cannot be set at all, whatever the value; null when it can. For forms: offer only the others. */
export function refusedSetting(property: Pick<Property, 'name' | 'type' | 'values'>): string | null {
  return (
    refusedName(property.name) ??
    (kindOfProperty(property) === null
      ? `Properties of the type ${property.type} cannot be set here: they may name something of the host.`
      : null)
  )
}

/**
 * Why the value cannot be given to the property; null when it can.
 * @param known QEMU's properties of the driver
 */
export function refusedProperty(
  name: string,
  value: boolean | number | string,
  known: readonly Property[],
): string | null {
  const property = known.find((candidate) => candidate.name === name)
  if (property === undefined) return 'This QEMU’s device has no such property.'
  const refused = refusedSetting(property)
  if (refused !== null) return refused
  const { min, max, values } = property
  switch (kindOfProperty(property)) {
    case 'choice':
      return typeof value === 'string' && values?.includes(value) ? null : `It takes one of ${values?.join(', ')}.`
    case 'switch':
      return typeof value === 'boolean' ? null : 'It takes true or false.'
    case 'number':
      return typeof value === 'number' &&
        Number.isSafeInteger(value) &&
        (min === null || value >= min) &&
        (max === null || value <= max)
        ? null
        : `It takes a whole number${min === null || max === null ? '' : ` from ${min} to ${max}`}.`
    default:
      return typeof value === 'string' && value.length <= 64 ? null : 'It takes a text of at most 64 characters.'
  }
}
