/** Gathers the facts about KVM on this host and has them judged (`verdict.ts`). Takes well under a second. */
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs'
import type { AcceleratorVerdict } from '#lib/schema/host.ts'
import type { ChildUser } from '#server/platform/child.ts'
import { readCpu } from './cpu.ts'
import { runGuestCode } from './guest-code.ts'
import { groupName, userName } from './names.ts'
import { type AcceleratorFacts, type GuestRun, judgeAccelerator } from './verdict.ts'
import { detectVirtualization } from './virtualization.ts'

const KVM_DEVICE = '/dev/kvm'
/** The kernel's overflow user, `nobody` on every distribution here. */
const NOBODY = 65_534

export interface CheckOptions {
  /** Absolute path of the system emulator; null when there is none. */
  readonly binary: string | null
  /** What that QEMU says about itself; null when it could not be asked. */
  readonly qemu: AcceleratorFacts['qemu']
  readonly policy: AcceleratorVerdict['policy']
  /** User QEMU runs as; null when it shares ours. */
  readonly user: ChildUser | null
}

/** Never throws: what cannot be found out is in the evidence. */
export async function checkAccelerator(options: CheckOptions): Promise<AcceleratorVerdict> {
  const facts = gatherFacts(options)
  const guest = await tryGuest(options, facts)
  return judgeAccelerator({ ...facts, guest }, options.policy, new Date().toISOString())
}

/** Everything but the guest itself. */
function gatherFacts({ qemu, user }: CheckOptions): AcceleratorFacts {
  const cpu = readCpu(readText('/proc/cpuinfo'))
  return {
    cpu,
    virtualization: detectVirtualization(),
    kvmModules: listKvmModules(),
    device: readDevice(),
    opens: statSync(KVM_DEVICE, { throwIfNoEntry: false }) === undefined ? null : whoOpens(user),
    qemu,
    guest: null,
  }
}

async function tryGuest(options: CheckOptions, facts: AcceleratorFacts): Promise<GuestRun | null> {
  const { binary, user } = options
  if (binary === null || facts.qemu?.hasKvm !== true) return null
  if (!facts.device.present || !facts.device.isCharacterDevice) return null
  // Where only we may open it, it is still worth knowing whether permission is all that is missing.
  const runner = facts.opens?.ok === true ? user : null
  if (runner === null && !opensForUs()) return null
  try {
    const run = await runGuestCode({ binary, accelerator: 'kvm', user: runner })
    // 126 and 127: the other user may not execute this QEMU. That says nothing about KVM.
    const isBarred = run.outcome === 'ended' && /exit status 12[67]/.test(run.how)
    if (!isBarred || runner === null || !opensForUs()) return run
    return await runGuestCode({ binary, accelerator: 'kvm', user: null })
  } catch (error) {
    return { outcome: 'ended', ms: 0, how: 'not started', said: error instanceof Error ? error.message : String(error) }
  }
}

function readDevice(): AcceleratorFacts['device'] {
  const facts = statSync(KVM_DEVICE, { throwIfNoEntry: false })
  if (facts === undefined) return { present: false }
  return {
    present: true,
    isCharacterDevice: facts.isCharacterDevice(),
    mode: facts.mode & 0o777,
    owner: userName(facts.uid),
    group: groupName(facts.gid),
  }
}

/** Whether `/dev/kvm` opens for reading and writing for the user QEMU runs as (null: ours). */
export function kvmOpensFor(user: ChildUser | null): boolean {
  return openError(user) === null
}

function whoOpens(user: ChildUser | null): NonNullable<AcceleratorFacts['opens']> {
  const error = openError(user)
  return { ok: error === null, user: userName(user?.uid ?? process.getuid?.() ?? 0), error }
}

function openError(user: ChildUser | null): string | null {
  if (user === null) return tryAccess()
  const facts = statSync(KVM_DEVICE, { throwIfNoEntry: false })
  if (facts === undefined) return 'there is no such device'
  const ok = mayReadWrite({ mode: facts.mode, uid: facts.uid, gid: facts.gid }, user)
  return ok ? null : 'permission denied'
}

/** The kernel's rule for mode bits: the first class that fits decides. */
export function mayReadWrite(file: { mode: number; uid: number; gid: number }, user: ChildUser): boolean {
  if (user.uid === file.uid) return (file.mode & 0o600) === 0o600
  if (user.gid === file.gid || user.groups.includes(file.gid)) return (file.mode & 0o060) === 0o060
  return (file.mode & 0o006) === 0o006
}

function opensForUs(): boolean {
  return tryAccess() === null
}

function tryAccess(): string | null {
  try {
    accessSync(KVM_DEVICE, constants.R_OK | constants.W_OK)
    return null
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    return code === 'EACCES' || code === 'EPERM' ? 'permission denied' : 'it cannot be opened'
  }
}

function listKvmModules(): string[] {
  try {
    return readdirSync('/sys/module')
      .filter((name) => /^kvm($|[_-])/.test(name))
      .sort()
  } catch {
    return []
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/**
 * A user without any rights that may still open `/dev/kvm` by its group, for the probe of a dashboard that is root.
 * Null when we are not root, and QEMU can only be as we are.
 */
export function unprivilegedUser(): ChildUser | null {
  if (process.getuid?.() !== 0) return null
  const device = statSync(KVM_DEVICE, { throwIfNoEntry: false })
  // Never root's own group, whatever the device says.
  const groups = device === undefined || device.gid === 0 ? [] : [device.gid]
  return { uid: NOBODY, gid: NOBODY, groups }
}
