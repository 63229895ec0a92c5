/**
 * Who may set what in a definition: whatever reaches out of the guest (files and devices of the host, its bridges, raw
 * options) is for administrators. An operator may still change the rest of a VM that has such parts.
 */
import { realpath, stat } from 'node:fs/promises'
import { sep } from 'node:path'
import { may } from '#lib/auth/privileges.ts'
import type { HostDevices, PciDevice } from '#lib/schema/host-devices.ts'
import type { HostDevice, VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { hostDeviceKey } from '#server/spec/check/host-devices.ts'
import { EngineError } from './errors.ts'
import type { Caller } from './types.ts'

export interface AuthorityDeps {
  readonly allowRawArgs: boolean
  /** Absolute. */
  readonly shareDirs: readonly string[]
  readonly imageDirs: readonly string[]
  /** The dashboard's own directories, which no guest may see whatever else is allowed. */
  readonly ownDirs: readonly string[]
  hostDevices(): Promise<Pick<HostDevices, 'pci' | 'usb' | 'mdev'>>
  /** Whether a bridge of the host is open to VMs of a project; null: to those in none. */
  readonly isOpen: (bridge: string, projectId: string | null) => boolean
}

/** A VM that runs, and what it was started with. */
export interface RunningVm {
  readonly id: string
  /** As the caller may be told. */
  readonly name: string
  readonly spec: Pick<VmSpec, 'hostDevices'>
}

export interface VmAuthority {
  /**
   * Judges what was asked before it is looked at, so that nobody learns from a message what is not for them.
   * @throws EngineError forbidden with `field`
   */
  assertMayAsk(caller: Caller, before: VmSpec | null, asked: VmSpecInput | VmSpecPatch): void
  /** @param projectId where the VM is or will be; left out or null: in no project @throws EngineError forbidden with `field` */
  assertMaySet(caller: Caller, before: VmSpec | null, after: VmSpec, projectId?: string | null): void
  /** Files and directories of the host. @throws EngineError forbidden, bad_input with `field` */
  assertHostPaths(spec: VmSpec): Promise<void>
  /** Everything a start depends on. @throws EngineError forbidden, bad_input, conflict with `field` */
  assertLaunchable(spec: VmSpec, running: readonly RunningVm[]): Promise<void>
}

/** What every guest has of processors and disks; more would be at the others' cost. */
const USUAL_WEIGHT = 100
const ADMIN_ONLY = 'Only an administrator may'

const forbid = (field: string, message: string): never => {
  throw new EngineError('forbidden', message, { field })
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

const FIELDS = [
  ['directKernel', `${ADMIN_ONLY} name a kernel on the host.`],
  ['shares', `${ADMIN_ONLY} share directories of the host.`],
  ['hostDevices', `${ADMIN_ONLY} hand over devices of the host.`],
  ['rawArgs', `${ADMIN_ONLY} give QEMU raw options.`],
] as const

/** Value of each field in a VM that uses none of it. */
const UNUSED = { directKernel: null, shares: [], hostDevices: [], rawArgs: [] } as const

export function createVmAuthority(deps: AuthorityDeps): VmAuthority {
  const assertRawArgs = (rawArgs: readonly string[]): void => {
    if (rawArgs.length > 0 && !deps.allowRawArgs) {
      forbid('rawArgs', 'Raw options are switched off on this host; GUESTDECK_ALLOW_RAW_ARGS=1 allows them.')
    }
  }

  const assertHostPaths = async (spec: VmSpec): Promise<void> => {
    for (const [index, share] of spec.shares.entries()) {
      const field = `shares.${index}.source`
      const path = await assertBelow(share.source, deps.shareDirs, 'GUESTDECK_SHARE_DIRS', 'shared', field)
      if (!(await stat(path)).isDirectory()) throw new EngineError('bad_input', 'This is not a directory.', { field })
      const own = await Promise.all(deps.ownDirs.map(real))
      if (own.some((dir) => dir !== null && (isBelow(path, dir) || isBelow(dir, path) || dir === path))) {
        forbid(field, "The dashboard's own files lie there; a guest must not see them.")
      }
    }
    if (spec.directKernel === null) return
    for (const name of ['kernel', 'initrd'] as const) {
      const given = spec.directKernel[name]
      if (given === null) continue
      const field = `directKernel.${name}`
      const path = await assertBelow(given, deps.imageDirs, 'GUESTDECK_IMAGE_DIRS', 'used as a kernel', field)
      if (!(await stat(path)).isFile()) throw new EngineError('bad_input', 'This is not a regular file.', { field })
    }
  }

  return {
    assertMayAsk(caller, before, asked) {
      for (const [name, message] of FIELDS) {
        const value = asked[name]
        if (value === undefined || same(value, before?.[name] ?? UNUSED[name])) continue
        // Elements of lists may be given in part; what they come to is judged by `assertMaySet`.
        if (!may(caller, 'vm.host') && (before === null || same(before[name], UNUSED[name]))) forbid(name, message)
        if (name === 'rawArgs') assertRawArgs(asked.rawArgs ?? [])
      }
    },
    assertMaySet(caller, before, after, projectId = null) {
      if (!same(after.rawArgs, before?.rawArgs ?? [])) assertRawArgs(after.rawArgs)
      if (may(caller, 'vm.host')) return
      for (const [name, message] of FIELDS) {
        if (!same(after[name], before?.[name] ?? UNUSED[name])) forbid(name, message)
      }
      for (const field of ['cpuWeight', 'ioWeight'] as const) {
        if (after[field] <= USUAL_WEIGHT || after[field] === before?.[field]) continue
        forbid(field, `${ADMIN_ONLY} give a guest more than the usual share of the host (${USUAL_WEIGHT}).`)
      }
      if (!after.memoryCap && before?.memoryCap !== false) {
        forbid('memoryCap', `${ADMIN_ONLY} switch off the limit that keeps the memory of QEMU in bounds.`)
      }
      after.networks.forEach((card, index) => {
        if (card.network !== 'bridge') return
        const old = before?.networks.find((candidate) => candidate.id === card.id)
        if (old?.network === 'bridge' && old.bridge === card.bridge) return
        if (card.bridge !== null && deps.isOpen(card.bridge, projectId)) return
        forbid(
          `networks.${index}.network`,
          `${ADMIN_ONLY} connect a VM to a bridge of the host that is not open to ${projectId === null ? 'everybody' : 'its project'}.`,
        )
      })
    },
    assertHostPaths,
    async assertLaunchable(spec, running) {
      assertRawArgs(spec.rawArgs)
      await assertHostPaths(spec)
      if (spec.hostDevices.length > 0) assertHostDevicesFree(spec.hostDevices, running, await deps.hostDevices())
    },
  }
}

/**
 * The path itself, when it lies below one of the directories and leads nowhere else.
 * @throws EngineError forbidden, bad_input
 */
async function assertBelow(
  path: string,
  dirs: readonly string[],
  variable: string,
  done: string,
  field: string,
): Promise<string> {
  const outside = `This is not in a directory whose contents may be ${done}. The administrator of this host lists them in ${variable}.`
  const roots = (await Promise.all(dirs.map(real))).filter((root) => root !== null)
  // The text first, so that a path outside says nothing about what exists there.
  if (![...dirs, ...roots].some((root) => isAtOrBelow(path, root))) forbid(field, outside)
  const target = await real(path)
  if (target === null) throw new EngineError('bad_input', 'There is nothing by this path on the host.', { field })
  if (!roots.some((root) => isAtOrBelow(target, root))) {
    forbid(field, `${outside} This path leads outside of them by a link.`)
  }
  // What is opened later must be what was judged now.
  if (target !== path) {
    throw new EngineError('bad_input', 'This path leads over a link; name the place it leads to.', { field })
  }
  return target
}

const real = (path: string): Promise<string | null> => realpath(path).catch(() => null)
const isBelow = (path: string, dir: string) => path.startsWith(dir.endsWith(sep) ? dir : dir + sep)
const isAtOrBelow = (path: string, dir: string) => path === dir || isBelow(path, dir)

/** @throws EngineError conflict naming who has it, bad_input when it is not there or not fit */
function assertHostDevicesFree(
  devices: readonly HostDevice[],
  running: readonly RunningVm[],
  host: Pick<HostDevices, 'pci' | 'usb' | 'mdev'>,
): void {
  const holders = new Map(
    running.flatMap(({ name, spec }) => spec.hostDevices.map((device) => [hostDeviceKey(device), name] as const)),
  )
  const groupHolders = new Map<number, string>()
  for (const { name, spec } of running) {
    for (const device of spec.hostDevices) {
      const group = device.type === 'pci' ? pciAt(host.pci, device.address)?.iommuGroup : undefined
      if (typeof group === 'number') groupHolders.set(group, name)
    }
  }
  for (const [index, device] of devices.entries()) {
    const refuse = (code: 'conflict' | 'bad_input', message: string): never => {
      throw new EngineError(code, message, { field: `hostDevices.${index}` })
    }
    const holder = holders.get(hostDeviceKey(device))
    if (holder !== undefined) refuse('conflict', `${holder} has this device of the host; only one guest can.`)
    if (device.type === 'mdev') {
      if (!host.mdev.instances.some((instance) => instance.uuid === device.uuid))
        refuse('bad_input', `This host has no mediated device ${device.uuid}; create it first.`)
      continue
    }
    if (device.type !== 'pci') {
      // None at all may be plugged in later: QEMU waits for it.
      const present = host.usb.filter((each) =>
        device.type === 'usb-id'
          ? each.vendorId === device.vendor && each.productId === device.product
          : each.bus === device.hostBus && each.port === device.hostPort,
      )
      const [first] = present
      if (first !== undefined && present.every((each) => !each.assignable))
        refuse('bad_input', first.reason ?? 'This device cannot be handed to a guest.')
      continue
    }
    const found =
      pciAt(host.pci, device.address) ?? refuse('bad_input', `This host has no PCI device ${device.address}.`)
    const group = found.iommuGroup
    const other = group === null ? undefined : groupHolders.get(group)
    if (other !== undefined)
      refuse(
        'conflict',
        `It shares the IOMMU group ${group} with a device that ${other} has; a group goes to one guest.`,
      )
    // Also says which other devices of its group the host uses.
    if (!found.assignable) refuse('bad_input', found.reason ?? 'This device cannot be handed to a guest.')
  }
}

const pciAt = (devices: readonly PciDevice[], address: string): PciDevice | undefined =>
  devices.find((device) => device.address === address)
