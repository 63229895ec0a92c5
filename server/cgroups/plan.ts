/**
 * Which file of a guest's control group gets which value, and where on this host such groups may be made. Pure.
 * Files and their meaning: Linux, Documentation/admin-guide/cgroup-v2.rst.
 */
import type { VmSpec } from '#lib/schema/vm-spec.ts'

/** What a guest's group needs of the kernel. */
export const CONTROLLERS = ['cpu', 'memory', 'pids', 'io'] as const
export type Controller = (typeof CONTROLLERS)[number]

/** What of a definition, and of how it runs, the limits come from. */
export type LimitSource = Pick<
  VmSpec,
  | 'cpuWeight'
  | 'cpuLimit'
  | 'ioWeight'
  | 'memoryCap'
  | 'memoryMiB'
  | 'memoryMaxMiB'
  | 'maxCpus'
  | 'displayMemoryMiB'
  | 'disks'
  | 'shares'
>

export type LimitId = 'cpu-weight' | 'cpu-limit' | 'memory' | 'processes' | 'io-weight'

export interface PlannedLimit {
  readonly id: LimitId
  readonly controller: Controller
  readonly file: string
  readonly content: string
  /** What it is set to, for people. */
  readonly value: string
}

const PERIOD_US = 100_000
const MIB = 2 ** 20

/**
 * What QEMU, swtpm and virtiofsd may need besides the guest's memory. Measured with QEMU 7.2 under TCG, eight qcow2 disks
 * being written at once: 93 MiB, translated code included, which may grow to 256 MiB. What is given is several times that,
 * because the kernel ends QEMU where it is too little.
 */
export function headroomMiB(source: LimitSource, accelerator: 'kvm' | 'tcg'): number {
  const guestMiB = Math.max(source.memoryMiB, source.memoryMaxMiB ?? 0)
  const fixed =
    384 +
    2 * (source.displayMemoryMiB ?? 0) +
    48 * source.disks.length +
    128 * source.shares.length +
    4 * source.maxCpus
  // Page tables and the bitmaps of snapshots and backups grow with the memory.
  return fixed + (accelerator === 'tcg' ? 512 : 0) + Math.ceil(guestMiB * 0.03)
}

/** Threads: virtual CPUs, and up to 64 workers for each of the loops that serve disks. */
function mostTasks(source: LimitSource): number {
  const loops = 1 + source.disks.filter((drive) => drive.device === 'disk' && drive.ioThread).length
  return 256 + source.maxCpus + 72 * loops + 72 * source.shares.length
}

/** @param accelerator what the guest runs on */
export function planLimits(source: LimitSource, accelerator: 'kvm' | 'tcg'): PlannedLimit[] {
  const { cpuWeight, cpuLimit, ioWeight } = source
  const headroom = headroomMiB(source, accelerator)
  const guestMiB = Math.max(source.memoryMiB, source.memoryMaxMiB ?? 0)
  const maxMiB = guestMiB + headroom
  const tasks = mostTasks(source)
  return [
    {
      id: 'cpu-weight',
      controller: 'cpu',
      file: 'cpu.weight',
      content: String(cpuWeight),
      value: String(cpuWeight),
    },
    {
      id: 'cpu-limit',
      controller: 'cpu',
      file: 'cpu.max',
      content: cpuLimit === null ? `max ${PERIOD_US}` : `${Math.round(cpuLimit * PERIOD_US)} ${PERIOD_US}`,
      value: cpuLimit === null ? 'none' : `${cpuLimit} CPUs`,
    },
    {
      id: 'memory',
      controller: 'memory',
      // Never memory.high: without swap the kernel then lets a guest crawl for hours, and nobody sees why.
      file: 'memory.max',
      content: source.memoryCap ? String(maxMiB * MIB) : 'max',
      value: source.memoryCap ? `${maxMiB} MiB` : 'none',
    },
    {
      id: 'processes',
      controller: 'pids',
      file: 'pids.max',
      content: String(tasks),
      value: String(tasks),
    },
    {
      id: 'io-weight',
      controller: 'io',
      file: 'io.weight',
      content: `default ${ioWeight}`,
      value: String(ioWeight),
    },
  ]
}

/** What all guests together leave to the host: a twentieth, so that a shortage of memory is theirs and not sshd's. */
export const guestsMemoryMax = (totalBytes: number): number => Math.floor((totalBytes * 0.95) / MIB) * MIB

export interface HostCgroups {
  /** Text of /proc/self/mountinfo and /proc/self/cgroup. */
  readonly mountinfo: string
  readonly own: string
  readonly isRoot: boolean
  /** Whether systemd runs this host: it then owns the tree, and we may use what it has handed over alone. */
  readonly hasSystemd: boolean
  /** `GUESTDECK_CGROUP`. */
  readonly setting: string
}

export type Base =
  | {
      readonly kind: 'found'
      /** Where cgroup v2 is mounted. */
      readonly mount: string
      /** Directory the guests' groups are made in, below `mount`. */
      readonly guests: string
      /** Somebody has named it: groups are made even where the kernel gives them no limits. */
      readonly named: boolean
    }
  | { readonly kind: 'none'; readonly reason: string; readonly advice: string }

/** How the dashboard's own group is called where systemd puts it into one below the unit's (`DelegateSubgroup=`). */
const OWN_SUBGROUP = 'dashboard'
const GUESTS = 'guests'

const UNIT_ADVICE =
  'Run it as the systemd unit of the package, or give your unit the lines of the operator’s guide (“Shares of the host”).'

/** Where guests' groups may be made. */
export function chooseBase({ mountinfo, own, isRoot, hasSystemd, setting }: HostCgroups): Base {
  if (setting === 'off') {
    return { kind: 'none', reason: 'Control groups are switched off (GUESTDECK_CGROUP=off).', advice: '' }
  }
  const mount = findMount(mountinfo)
  if (mount === null) {
    return {
      kind: 'none',
      reason: 'This kernel has no cgroup v2 mounted.',
      advice:
        'Mount it: mount -t cgroup2 none /sys/fs/cgroup. With systemd boot with systemd.unified_cgroup_hierarchy=1.',
    }
  }
  if (setting.startsWith('/')) return { kind: 'found', mount, guests: join(mount, setting), named: true }
  const path = /^0::(\/.*)$/m.exec(own)?.[1] ?? '/'
  const parts = path.split('/').filter((part) => part !== '')
  if (parts.at(-1) === OWN_SUBGROUP && /\.(service|scope)$/.test(parts.at(-2) ?? '')) {
    return { kind: 'found', mount, guests: join(mount, ...parts.slice(0, -1), GUESTS), named: false }
  }
  if (hasSystemd) {
    return { kind: 'none', reason: 'systemd has handed no control group over to the dashboard.', advice: UNIT_ADVICE }
  }
  if (!isRoot) {
    return {
      kind: 'none',
      reason: 'The dashboard is not root and nobody has handed a control group over to it.',
      advice: 'Let root make one, give it to the dashboard’s user and name it in GUESTDECK_CGROUP.',
    }
  }
  return { kind: 'found', mount, guests: join(mount, 'guestdeck'), named: false }
}

const join = (...parts: string[]): string => parts.join('/').replaceAll(/\/+/g, '/')

/** Mount point of the whole v2 tree, or of what a container sees of it. */
function findMount(mountinfo: string): string | null {
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    // proc(5): the fourth field is the root within the file system, the fifth the mount point.
    if (after.startsWith('cgroup2 ')) return before.split(' ')[4] ?? null
  }
  return null
}

/** Why controllers are not there, as far as that can be told: a sentence for each reason. */
export function whyMissing(
  controllers: readonly Controller[],
  available: ReadonlySet<string>,
  v1: ReadonlySet<string>,
): string {
  const reasonOf = (controller: Controller) => {
    if (available.has(controller)) return 'closed'
    return v1.has(controller === 'io' ? 'blkio' : controller) ? 'old' : 'absent'
  }
  return [...Map.groupBy(controllers, reasonOf)]
    .map(([reason, names]) => {
      const what = `controller${names.length > 1 ? 's' : ''} ${AND.format(names.map((name) => `“${name}”`))}`
      if (reason === 'closed') return `The ${what} could not be switched on for guests.`
      if (reason === 'old') return `On this host the ${what} ${names.length > 1 ? 'are' : 'is'} in cgroup v1.`
      return `This kernel or the group above gives no ${what}.`
    })
    .join(' ')
}
const AND = new Intl.ListFormat('en')

/** Names of /proc/cgroups that are bound to a v1 hierarchy. */
export function v1Controllers(procCgroups: string): Set<string> {
  const names = new Set<string>()
  for (const line of procCgroups.split('\n')) {
    const [name = '', hierarchy = '0'] = line.split('\t')
    if (name !== '' && !name.startsWith('#') && hierarchy !== '0') names.add(name)
  }
  return names
}
