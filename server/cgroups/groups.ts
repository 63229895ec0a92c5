/**
 * Control groups of guests: made before a guest's first program runs, filled, kept in step with the definition, removed
 * after its end. Nothing here fails a guest: what cannot be had is said, on the host page and on the VM's.
 *
 *   <guests>/            limits of all guests together
 *   <guests>/<vm id>/    one guest: QEMU, swtpm, virtiofsd
 *
 * The kernel keeps the groups, so they hold while the dashboard is away; adoption finds them and sets them anew.
 */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LimitsHeld } from '#lib/schema/limits.ts'
import { within } from '#server/platform/clock.ts'
import { errorCode } from '#server/platform/fs.ts'
import { startedAsRoot } from '#server/platform/privileges.ts'
import {
  type Base,
  CONTROLLERS,
  type Controller,
  chooseBase,
  guestsMemoryMax,
  type LimitSource,
  type PlannedLimit,
  planLimits,
  v1Controllers,
  whyMissing,
} from './plan.ts'

/** A write of a limit below what is in use makes the kernel look for memory first. */
const WRITE_MS = 2000
const REMOVE_MS = 2000
const POLL_MS = 10
const VM_ID = /^[0-9a-f-]{36}$/

export interface GroupsStatus {
  readonly state: 'ok' | 'broken' | 'missing'
  /** Which controllers guests get. */
  readonly controllers: readonly Controller[]
  /** What there is, what is missing and why, what to do. */
  readonly detail: string
}

export interface GuestGroup {
  /** Makes it and sets its limits. Idempotent, never throws. @returns what really holds */
  set(source: LimitSource, accelerator: 'kvm' | 'tcg'): Promise<LimitsHeld>
  /** Moves a process and all it has started into it. Never throws. @returns whether it is in there */
  enclose(pid: number): Promise<boolean>
  /** How often the kernel has ended a process in it for want of memory. Never throws. */
  oomKills(): Promise<number>
  /** The guest has ended: ends what is left in it and removes it. Never throws. */
  remove(): Promise<void>
}

export interface ControlGroups {
  readonly status: GroupsStatus
  /** Directory of the guests' groups; null: there are none. */
  readonly dir: string | null
  guest(vmId: string): GuestGroup
  /** Removes empty groups of guests that are not among `running`. Never throws. */
  sweep(running: ReadonlySet<string>): Promise<void>
}

export interface ControlGroupOptions {
  /** `GUESTDECK_CGROUP`: `auto`, `off`, or the path of a group below the mount point. */
  readonly setting: string
  /** Moves a process into a group, where that is for somebody else to do. @throws Error with `code` */
  enclose?(request: { readonly dir: string; readonly pid: number }): Promise<void>
  warn(message: string, error?: unknown): void
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Looks at the host once and prepares the group of all guests. Never throws. */
export async function openControlGroups({ setting, enclose, warn }: ControlGroupOptions): Promise<ControlGroups> {
  const base = chooseBase({
    mountinfo: read('/proc/self/mountinfo'),
    own: read('/proc/self/cgroup'),
    isRoot: startedAsRoot,
    hasSystemd: existsSync('/run/systemd/system'),
    setting,
  })
  return await openAt(base, enclose, warn)
}

async function openAt(
  base: Base,
  enclose: ControlGroupOptions['enclose'],
  warn: ControlGroupOptions['warn'],
): Promise<ControlGroups> {
  if (base.kind === 'none') return unavailable(base.reason, base.advice)
  const { mount, guests, named } = base
  const v1 = v1Controllers(read('/proc/cgroups'))
  const available = new Set(read(join(mount, 'cgroup.controllers')).split(/\s+/))
  if (!named && !CONTROLLERS.some((controller) => available.has(controller))) {
    const why = whyMissing(CONTROLLERS, available, v1)
    return unavailable(why, 'With systemd boot with systemd.unified_cgroup_hierarchy=1.')
  }
  try {
    await mkdir(guests, { recursive: true, mode: 0o755 })
  } catch (error) {
    return unavailable(
      `The control group ${relative(mount, guests)} cannot be made (${errorCode(error) ?? 'unknown'}).`,
      'Give it to the dashboard’s user, or run the dashboard as root.',
    )
  }
  const controllers: Controller[] = []
  for (const controller of CONTROLLERS) if (await enable(controller, mount, guests)) controllers.push(controller)
  const missing = CONTROLLERS.filter((controller) => !controllers.includes(controller))
  if (controllers.includes('memory')) {
    await put(join(guests, 'memory.max'), String(guestsMemoryMax(totalmem()))).catch((error: unknown) =>
      warn('The memory of all guests together could not be limited', error),
    )
  }
  const place = `/${relative(mount, guests)}`
  const has = controllers.length > 0 ? `Guests get groups of their own in ${place}: ${controllers.join(', ')}.` : ''
  const status: GroupsStatus = {
    state: missing.length === 0 ? 'ok' : controllers.length > 0 ? 'broken' : 'missing',
    controllers,
    detail: [has, whyMissing(missing, available, v1)].filter((text) => text !== '').join(' '),
  }
  const reasons = new Map(CONTROLLERS.map((controller) => [controller, whyMissing([controller], available, v1)]))
  return {
    status,
    dir: guests,
    guest: (vmId) => createGuestGroup(join(guests, vmId), new Set(controllers), reasons, enclose, warn),
    async sweep(running) {
      const names = await readdir(guests).catch(() => [])
      for (const name of names) {
        // One that still holds a process is kept by the kernel (EBUSY).
        if (VM_ID.test(name) && !running.has(name)) await rmdir(join(guests, name)).catch(() => {})
      }
    },
  }
}

/** Of a host without control groups, or before anybody has looked. */
export function unavailable(reason: string, advice = ''): ControlGroups {
  const detail = [reason, advice].filter((text) => text !== '').join(' ')
  return {
    status: { state: 'missing', controllers: [], detail },
    dir: null,
    guest: () => ({
      set: async () => ({ reason, limits: [] }),
      enclose: async () => false,
      oomKills: async () => 0,
      remove: async () => {},
    }),
    sweep: async () => {},
  }
}

/** Hands a controller down from the mount point to the guests' groups, as far as that is not done. */
async function enable(controller: Controller, mount: string, guests: string): Promise<boolean> {
  const levels: string[] = []
  for (let dir = guests; dir !== mount && dir.startsWith(`${mount}/`); dir = dirname(dir)) levels.unshift(dir)
  for (const dir of [mount, ...levels]) {
    const file = join(dir, 'cgroup.subtree_control')
    if (read(file).split(/\s+/).includes(controller)) continue
    try {
      await put(file, `+${controller}`)
    } catch {
      return false
    }
  }
  return true
}

/** @throws Error with `code`; ETIMEDOUT when the kernel takes too long, which then still sets it */
async function put(path: string, value: string): Promise<void> {
  const done = await within(
    writeFile(path, value, { flag: 'r+' }).then(() => true),
    WRITE_MS,
    false,
  )
  if (!done) throw Object.assign(new Error(`${path} was not written in time`), { code: 'ETIMEDOUT' })
}

function createGuestGroup(
  dir: string,
  controllers: ReadonlySet<Controller>,
  reasons: ReadonlyMap<Controller, string>,
  enclose: ControlGroupOptions['enclose'],
  warn: ControlGroupOptions['warn'],
): GuestGroup {
  const putPid = async (group: string, pid: number): Promise<void> => {
    if (enclose === undefined) return await put(join(group, 'cgroup.procs'), String(pid))
    const done = await within(
      enclose({ dir: group, pid }).then(() => true),
      WRITE_MS,
      false,
    )
    if (!done) throw Object.assign(new Error('it was not moved in time'), { code: 'ETIMEDOUT' })
  }
  const hold = async (limit: PlannedLimit): Promise<LimitsHeld['limits'][number]> => {
    const { id, value, controller } = limit
    if (!controllers.has(controller)) return { id, value, holds: false, reason: reasons.get(controller) ?? null }
    try {
      await put(join(dir, limit.file), limit.content)
      return { id, value, holds: true, reason: null }
    } catch (error) {
      const code = errorCode(error) ?? 'unknown'
      const reason =
        code === 'ENOENT' && id === 'io-weight'
          ? 'This kernel shares no disks by weight: it has neither io.cost nor BFQ.'
          : `The kernel did not take it (${code}).`
      return { id, value, holds: false, reason }
    }
  }

  return {
    async set(source, accelerator) {
      try {
        await mkdir(dir, { recursive: true, mode: 0o755 })
        // One after the other: they are a few microseconds each.
        const limits: LimitsHeld['limits'] = []
        for (const limit of planLimits(source, accelerator)) limits.push(await hold(limit))
        return { reason: null, limits }
      } catch (error) {
        warn(`The control group ${dir} could not be made`, error)
        return { reason: `Its control group could not be made (${errorCode(error) ?? 'unknown'}).`, limits: [] }
      }
    },
    async enclose(pid) {
      try {
        // What a process has started before it was moved stays outside; what it starts afterwards is inside.
        for (let round = 0; round < 3; round += 1) {
          const inside = new Set((await readFile(join(dir, 'cgroup.procs'), 'utf8')).split('\n'))
          const outside = familyOf(pid).filter((one) => !inside.has(String(one)))
          if (outside.length === 0) return true
          for (const one of outside) {
            await putPid(dir, one).catch((error: unknown) => {
              // It has ended meanwhile.
              if (errorCode(error) !== 'ESRCH') throw error
            })
          }
        }
        return true
      } catch (error) {
        warn(`Process ${pid} could not be moved to the control group ${dir}`, error)
        return false
      }
    },
    async oomKills() {
      const text = await readFile(join(dir, 'memory.events'), 'utf8').catch(() => '')
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0)
    },
    async remove() {
      for (const deadline = performance.now() + REMOVE_MS; ; await sleep(POLL_MS)) {
        try {
          await rmdir(dir)
          return
        } catch (error) {
          if (errorCode(error) === 'ENOENT') return
          if (errorCode(error) !== 'EBUSY' || performance.now() > deadline) {
            return warn(`The control group ${dir} could not be removed`, error)
          }
          // What a helper left behind goes with its guest.
          await put(join(dir, 'cgroup.kill'), '1').catch(() => {})
        }
      }
    },
  }
}

/** A process and all that descend from it, outermost first. */
function familyOf(pid: number, depth = 0): number[] {
  if (depth > 8) return []
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').map(Number)
  return [pid, ...children.filter((child) => child > 0).flatMap((child) => familyOf(child, depth + 1))]
}
