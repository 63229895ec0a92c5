/** A scratch place for tests with real QEMU: short run directory, hand-made launch plans, and a broom. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { createSerialHub } from '#server/console/serial-hub.ts'
import { vmRunPaths } from '#server/paths.ts'
import type { LaunchPlan, LaunchUser, PlannedOption } from '#server/spec/types.ts'
import { createSupervisor, type SupervisorDeps } from '#server/vm/supervisor.ts'
import type { PreparedLaunch, Supervisor } from '#server/vm/types.ts'
import { haltRom } from './halt-rom.ts'
import { v7 } from './uuid.ts'

export const QEMU = 'qemu-system-x86_64'

export interface Lab {
  readonly dir: string
  readonly runDir: string
  supervisor(deps?: Partial<SupervisorDeps>): Supervisor
  prepare(vmId: string, options?: GuestOptions): Promise<PreparedLaunch>
  /** Ends every QEMU of this lab and removes it. */
  close(): Promise<void>
}

export interface GuestOptions {
  /** The BIOS; halts unless given. */
  readonly rom?: Buffer
  readonly display?: boolean
  readonly accelerator?: 'tcg' | 'kvm'
  readonly firmware?: string
  /** Further options, one argv group each. */
  readonly extra?: readonly (readonly string[])[]
  readonly files?: ReadonlyMap<string, string>
  readonly binary?: string
  readonly user?: LaunchUser | null
  readonly wrapper?: readonly string[]
}

export const newVmId = v7

export function option(argv: readonly string[]): PlannedOption {
  return { argv: [...argv], group: 'process', what: '', why: '', origin: 'plumbing', field: null }
}

/** The recipe of the product, reduced to what a guest of a few bytes needs. */
export function planOf(runDir: string, vmId: string, romPath: string, options: GuestOptions = {}): LaunchPlan {
  const paths = vmRunPaths(runDir, vmId)
  const accelerator = options.accelerator ?? 'tcg'
  const socket = (id: string, path: string) => ['-chardev', `socket,id=${id},path=${path},server=on,wait=off`]
  const groups: (readonly string[])[] = [
    ['-no-user-config'],
    ['-nodefaults'],
    ['-display', 'none'],
    ['-S'],
    ['-no-shutdown'],
    ['-action', 'reboot=reset,shutdown=pause,panic=pause'],
    ['-name', `guest=${vmId},debug-threads=on`],
    ['-uuid', vmId],
    ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ['-machine', 'pc-q35-7.2,usb=off'],
    ['-accel', accelerator === 'tcg' ? 'tcg,tb-size=16' : 'kvm'],
    ['-m', '16'],
    ['-bios', options.firmware ?? romPath],
    ['-msg', 'timestamp=on'],
    ['-pidfile', paths.pidfile],
    [...socket('mon0', paths.qmp), '-mon', 'chardev=mon0,mode=control'],
    [...socket('mon1', paths.qmpRescue), '-mon', 'chardev=mon1,mode=control'],
    [...socket('ser0', paths.serial), '-serial', 'chardev:ser0'],
    ...(options.display
      ? [
          ['-vnc', `unix:${paths.vnc},share=ignore`],
          ['-device', '{"driver":"VGA","id":"video0"}'],
        ]
      : []),
    ...(options.extra ?? []),
  ]
  return {
    binary: options.binary ?? QEMU,
    wrapper: (options.wrapper ? [options.wrapper] : [['/bin/sh', '-c', 'umask 077; exec "$@"', 'sh']]).map(option),
    options: groups.map(option),
    helpers: [],
    taps: [],
    commands: [],
    pins: [],
    startSeconds: null,
    warnings: [],
  }
}

export function specOf(name = 'test', display: 'std' | 'none' = 'none'): VmSpec {
  return StoredVmSpec.parse({
    name,
    description: '',
    tags: [],
    guest: 'other',
    cpus: 1,
    cpuModel: 'max',
    memoryMiB: 16,
    accelerator: 'tcg',
    machine: 'pc-q35-7.2',
    firmware: 'bios',
    disks: [],
    networks: [],
    display,
    usbInput: false,
    serial: true,
    rng: false,
    balloon: false,
    agentChannel: false,
    spareRootPorts: 0,
    clock: 'utc',
    autostart: false,
  })
}

/** @param parent for a child process that shares the lab of its parent */
export async function openLab(parent?: string): Promise<Lab> {
  const dir = parent ?? (await mkdtemp(join(tmpdir(), 'gd-')))
  const runDir = join(dir, 'run')
  await mkdir(runDir, { recursive: true })
  const supervisors = new Set<Supervisor>()
  const vmIds = new Set<string>()
  return {
    dir,
    runDir,
    supervisor: (deps = {}) => {
      const supervisor = createSupervisor({ runDir, createSerialHub, ...deps })
      supervisors.add(supervisor)
      return supervisor
    },
    prepare: async (vmId, options = {}) => {
      vmIds.add(vmId)
      const romPath = join(dir, `${vmId}.rom`)
      await writeFile(romPath, options.rom ?? haltRom())
      return {
        vmId,
        spec: specOf('test', options.display ? 'std' : 'none'),
        plan: planOf(runDir, vmId, romPath, options),
        user: options.user ?? null,
        accelerator: { kind: options.accelerator ?? 'tcg', reason: 'The test asked for it.' },
        files: options.files ?? new Map(),
      }
    },
    close: async () => {
      for (const supervisor of supervisors) await supervisor.detach()
      const { createScan } = await import('#server/vm/identity.ts')
      const scan = createScan()
      for (const vmId of vmIds) {
        const pid = scan(vmId)
        if (pid !== null) process.kill(pid, 'SIGKILL')
      }
      if (parent === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
}
