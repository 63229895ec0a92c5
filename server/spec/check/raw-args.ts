/**
 * Raw options: a list of what may be given, each with a rule for its value. What is not on it is refused, with the reason
 * where people are likely to ask. Options of QEMU 7.2 to current (docs/system/invocation.rst, qemu-options.hx).
 */
import { refusedName } from '#lib/devices/property-rules.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf } from '../bus.ts'
import { isOlderThan } from './machine.ts'
import { bad, type SpecProblem } from './problem.ts'

/** One option with its value: the index of its first argument, for messages. */
export interface RawOption {
  readonly name: string
  readonly value: string | null
  readonly index: number
}

type Fields = ReadonlyMap<string, string>
/** Why the value is refused; null when it is not. */
type Rule = (value: string, capabilities: QemuCapabilities, spec: VmSpec) => string | null

/** Take no value. */
const FLAGS: ReadonlySet<string> = new Set(['-mem-prealloc', '-win2k-hack', '-only-migratable'])

const OBJECTS: ReadonlySet<string> = new Set([
  ...['iothread', 'main-loop', 'throttle-group', 'thread-context', 'memory-backend-ram', 'memory-backend-memfd'],
  ...['rng-builtin', 'cryptodev-backend-builtin', 'can-bus', 'filter-buffer', 'filter-replay'],
])

/** Devices that reach the host, or that are known for letting guests out. */
const REFUSED_DEVICE =
  /^(?:vfio-|vhost-|ivshmem|pvrdma|usb-host|usb-redir|u2f-|ccid-card-|loader$|guest-loader$|ipmi-bmc-extern|x-|virtio-9p|scsi-block|scsi-generic|pci-testdev|edu$|generic-sdhci|isa-debug-exit|tpm-)/

const RULES: Readonly<Record<string, Rule>> = {
  '-device': (value, capabilities, spec) => {
    const fields = readFields(value, 'driver')
    if (fields === null) return UNREADABLE
    const driver = fields.get('driver') ?? ''
    if (!capabilities.types.includes(driver)) return `this QEMU has no device “${driver}”`
    if (REFUSED_DEVICE.test(driver)) return `the device ${driver} reaches out of the guest`
    if (familyOf(spec.machine) === 'microvm' && driver.endsWith('-pci')) return `microvm has no PCI bus for ${driver}`
    const known = capabilities.deviceProperties[driver]
    for (const name of fields.keys()) {
      if (name === 'driver' || PLACE.has(name)) continue
      if (known !== undefined && !known.some((property) => property.name === name))
        return `${driver} has no property “${name}”`
      const why = refusedName(name)
      if (why !== null && !BACK_ENDS.has(name)) return `“${name}”: ${why}`
    }
    return null
  },
  '-object': (value, capabilities) => {
    const fields = readFields(value, 'qom-type')
    if (fields === null) return UNREADABLE
    const type = fields.get('qom-type') ?? ''
    if (!capabilities.objectTypes.includes(type)) return `this QEMU has no object “${type}”`
    return OBJECTS.has(type)
      ? outward(fields)
      : `objects of the type ${type} reach out of the guest or are made by fields`
  },
  '-global': (value) => {
    const short = /^(?<driver>[A-Za-z0-9_.-]+)\.(?<property>[A-Za-z0-9_-]+)=(?<value>[^,]*)$/.exec(value)?.groups
    const property = short?.property ?? readFields(value, '')?.get('property')
    if (property === undefined) return 'it is written DRIVER.PROPERTY=VALUE'
    const why = refusedName(property)
    return why === null ? null : `“${property}”: ${why}`
  },
  '-machine': (value, capabilities, spec) => {
    const fields = readFields(value, 'type')
    if (fields === null) return UNREADABLE
    const known = capabilities.machineProperties[familyOf(spec.machine)]
    for (const name of fields.keys()) {
      const property = known.find((candidate) => candidate.name === name)
      if (property === undefined) return `the machine has no property “${name}”, or a field of the definition sets it`
      if (property.type === 'string' || property.type === 'str' || property.type.startsWith('link'))
        return `“${name}” may name something of the host`
    }
    return null
  },
  '-smbios': (value, _, spec) => {
    if (isOlderThan(spec.machine, 2, 1)) return `${spec.machine} is older than these tables`
    const fields = readFields(value, '')
    if (fields === null) return UNREADABLE
    return fields.has('file') || fields.has('path') ? 'it would show the guest a file of the host' : null
  },
  '-fw_cfg': (value) => {
    const fields = readFields(value, 'name')
    if (fields === null) return UNREADABLE
    if (fields.has('file') || fields.has('gen_id')) return 'it would show the guest a file or object of the host'
    return /^opt\/[A-Za-z0-9._/-]+$/.test(fields.get('name') ?? '') ? null : 'its name must start with “opt/”'
  },
  '-chardev': (value) => {
    const type = /^[a-z0-9-]+/.exec(value)?.[0] ?? ''
    if (type !== 'null' && type !== 'ringbuf') return 'only the back ends null and ringbuf stay inside QEMU'
    return /(?:^|,)(?:logfile|path)=/.test(value) ? 'it would write a file of the host' : null
  },
  '-audiodev': (value) =>
    readFields(value, 'driver')?.get('driver') === 'none' ? null : 'only the back end none stays inside QEMU',
  '-icount': (value) => (/rr|file/.test(value) ? 'it would write a recording' : null),
  '-compat': (value) => outwardOrUnreadable(value),
  '-overcommit': (value) => outwardOrUnreadable(value),
  '-msg': (value) => outwardOrUnreadable(value),
  '-k': (value) => (/^[a-z]{2}(-[a-z]{2})?$/.test(value) ? null : 'it takes a keyboard layout such as “de”'),
}

const UNREADABLE = 'it is not written as QEMU reads it'
const PLACE: ReadonlySet<string> = new Set([
  'id',
  'bus',
  'addr',
  'multifunction',
  'chassis',
  'slot',
  'port',
  'nr',
  'lun',
])
const BACK_ENDS: ReadonlySet<string> = new Set(['chardev', 'audiodev', 'rng', 'memdev', 'iothread', 'index', 'name'])

const outward = (fields: Fields): string | null => {
  for (const name of fields.keys()) {
    const why = name === 'id' ? null : refusedName(name)
    if (why !== null) return `“${name}”: ${why}`
  }
  return null
}
const outwardOrUnreadable = (value: string) => {
  const fields = readFields(value, 'value')
  return fields === null ? UNREADABLE : outward(fields)
}

const FILES = 'it names files of the host; disks, kernels and firmware have fields of their own'
const CONTROL = 'it would give away control of QEMU'
const OURS = 'the dashboard sets it to run and watch the guest'

/** Why well-known options are not on the list. */
const REASONS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      ...['-kernel', '-initrd', '-append', '-dtb', '-bios', '-pflash', '-drive', '-blockdev', '-hda', '-hdb', '-hdc'],
      ...[
        '-hdd',
        '-cdrom',
        '-fda',
        '-fdb',
        '-sd',
        '-mtdblock',
        '-snapshot',
        '-option-rom',
        '-acpitable',
        '-fsdev',
        '-virtfs',
      ],
      ...[
        '-L',
        '-D',
        '-pidfile',
        '-mem-path',
        '-readconfig',
        '-writeconfig',
        '-trace',
        '-d',
        '-plugin',
        '-tpmdev',
        '-set',
      ],
      ...['-dump-vmstate', '-semihosting-config', '-perfmap', '-jitdump', '-cpu-profile'],
    ].map((name) => [name, FILES]),
  ),
  ...Object.fromEntries(
    [
      ...['-monitor', '-mon', '-qmp', '-qmp-pretty', '-gdb', '-s', '-serial', '-parallel', '-debugcon', '-qtest'],
      ...['-qtest-log', '-vnc', '-spice', '-display', '-nographic', '-curses', '-incoming', '-loadvm', '-add-fd'],
      ...['-usbdevice', '-netdev', '-nic', '-net', '-iscsi', '-echr'],
    ].map((name) => [name, CONTROL]),
  ),
  ...Object.fromEntries(
    [
      ...[
        '-nodefaults',
        '-no-user-config',
        '-name',
        '-uuid',
        '-sandbox',
        '-runas',
        '-run-with',
        '-chroot',
        '-daemonize',
      ],
      ...['-S', '-no-shutdown', '-no-reboot', '-action', '-preconfig', '-enable-kvm', '-accel', '-cpu', '-smp', '-m'],
      ...['-boot', '-rtc', '-numa', '-enable-fips', '-async-teardown', '-no-fd-bootchk'],
    ].map((name) => [name, OURS]),
  ),
}

/** Pairs options with their values; `-device X` and `--device X` are the same. Null: an argument belongs to no option. */
export function readRawArgs(args: readonly string[]): readonly RawOption[] | null {
  const options: RawOption[] = []
  for (let index = 0; index < args.length; index += 1) {
    const given = args[index] ?? ''
    if (!given.startsWith('-')) return null
    const name = given.replace(/^--/, '-')
    const takesValue = RULES[name] !== undefined && Object.hasOwn(RULES, name)
    if (!takesValue) {
      // An option that is refused anyway may bring a value of its own.
      const isKnownFlag = FLAGS.has(name)
      const next = args[index + 1]
      const hasValue = !isKnownFlag && next !== undefined && !next.startsWith('-')
      options.push({ name, value: hasValue ? next : null, index })
      if (hasValue) index += 1
      continue
    }
    options.push({ name, value: args[index + 1] ?? null, index })
    index += 1
  }
  return options
}

export function checkRawArgs(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  if (spec.rawArgs.length === 0) return []
  const control = spec.rawArgs.findIndex((argument) => /[\u0000-\u001f\u007f]/.test(argument))
  if (control >= 0) return [bad(`rawArgs.${control}`, 'Control characters have no place in an option.')]
  const options = readRawArgs(spec.rawArgs)
  if (options === null) {
    const stray = spec.rawArgs.findIndex((argument, n) => !argument.startsWith('-') && !isValue(spec.rawArgs, n))
    return [
      bad(`rawArgs.${Math.max(stray, 0)}`, 'This belongs to no option: an option starts with “-”, its value follows.'),
    ]
  }
  return options.flatMap(({ name, value, index }) => {
    const at = `rawArgs.${index}`
    const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined
    if (rule !== undefined) {
      if (value === null) return [bad(at, `${name} needs a value: give it as the next argument.`)]
      const why = rule(value, capabilities, spec)
      return why === null ? [] : [bad(at, `${name} is refused: ${why}.`.replace(/\.\.$/, '.'))]
    }
    if (FLAGS.has(name)) return []
    const reason = Object.hasOwn(REASONS, name) ? REASONS[name] : undefined
    return [
      bad(
        at,
        reason === undefined
          ? `${name} is not among the options that may be given here; see the operator’s guide.`
          : `${name} is refused: ${reason}.`,
      ),
    ]
  })
}

const isValue = (args: readonly string[], n: number): boolean => n > 0 && (args[n - 1] ?? '').startsWith('-')

/**
 * The fields of an option's value: JSON, or QEMU's `key=value,…` where a doubled comma is a comma (util/qemu-option.c).
 * @param implied key of a first part without `=`; empty: there is none
 */
export function readFields(value: string, implied: string): Fields | null {
  if (value.startsWith('{')) {
    try {
      const parsed: unknown = JSON.parse(value)
      return typeof parsed === 'object' && parsed !== null ? new Map(flatten(parsed, '')) : null
    } catch {
      return null
    }
  }
  const parts = value.replaceAll(',,', '\0').split(',')
  const fields = new Map<string, string>()
  for (const [n, part] of parts.entries()) {
    const text = part.replaceAll('\0', ',')
    const equals = text.indexOf('=')
    if (equals > 0) {
      const key = text.slice(0, equals)
      if (fields.has(key)) return null
      fields.set(key, text.slice(equals + 1))
    } else if (n === 0 && implied !== '' && text !== '' && equals < 0) fields.set(implied, text)
    else return null
  }
  return fields
}

function flatten(value: object, prefix: string): [string, string][] {
  return Object.entries(value).flatMap(([key, inner]): [string, string][] =>
    typeof inner === 'object' && inner !== null
      ? flatten(inner, `${prefix}${key}.`)
      : [[`${prefix}${key}`, String(inner)]],
  )
}
