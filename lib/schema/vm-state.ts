/** What a VM is doing, as opposed to what it should be (`vm-spec.ts`). */
import * as z from 'zod'
import { PRIVILEGES } from '../auth/privileges.ts'
import { ConsoleViewer, RecordingMark } from './console.ts'
import { Instant, PoolId, ProjectId, Revision, UserId, VmId } from './ids.ts'
import { VmLab } from './lab.ts'
import { LimitsHeld } from './limits.ts'
import { VmOrigin } from './origin.ts'
import { AcceleratorChoice, VmSpec } from './vm-spec.ts'

export const VmState = z
  .enum(['off', 'starting', 'running', 'paused', 'stopping', 'saving', 'migrating', 'crashed', 'unmanageable'])
  .meta({ id: 'VmState' })
export type VmState = z.output<typeof VmState>

/** Power operations that a person may ask for. */
export const PowerAction = z
  .enum(['start', 'shutdown', 'poweroff', 'reset', 'pause', 'resume'])
  .meta({ id: 'PowerAction' })
export type PowerAction = z.output<typeof PowerAction>

/** What the VM runs on and why. While off: what it would run on if started now. */
export const VmAccelerator = z
  .strictObject({
    requested: AcceleratorChoice,
    /** `kvm` or `tcg`; null when the request cannot be met on this host. */
    actual: z.enum(['kvm', 'tcg']).nullable(),
    /** True when read from the running QEMU, false when predicted. */
    observed: z.boolean(),
    /** One sentence for people: why this one. */
    reason: z.string(),
  })
  .meta({ id: 'VmAccelerator' })
export type VmAccelerator = z.output<typeof VmAccelerator>

/** Why the last run ended or the last start failed; `summary` is for people, the rest is evidence. */
export const VmExit = z
  .strictObject({
    at: Instant,
    kind: z.enum(['guest-shutdown', 'operator', 'host-signal', 'crash', 'launch-failure', 'host-reboot', 'unknown']),
    code: z.enum([
      'none',
      'kvm-internal-error',
      'sandbox-kill',
      'port-in-use',
      'image-in-use',
      'image-missing',
      'out-of-memory',
      'permission-denied',
      'qemu-missing',
      'bad-option',
      // A program that serves the guest beside QEMU (swtpm, virtiofsd) is missing, refused or died.
      'helper-failed',
      // The host lacks or will not give a device, bridge, huge pages or the like.
      'host-resource',
      'guest-panicked',
      'signal',
      'exit',
      'timeout',
    ]),
    summary: z.string(),
    /** What to do about it; empty when nothing is wrong. */
    advice: z.string(),
    exitCode: z.int().nullable(),
    signal: z.string().nullable(),
    /** Last lines of QEMU's stderr with host paths redacted; at most 4 KiB. */
    stderrTail: z.string(),
    /** Who asked for it, when somebody did. */
    by: z.string().nullable(),
  })
  .meta({ id: 'VmExit' })
export type VmExit = z.output<typeof VmExit>

/** A field whose stored value differs from what the running guest has. */
export const PendingChange = z
  .strictObject({
    /** JSON pointer into the spec, for example `/memoryMiB`. */
    path: z.string(),
    live: z.json(),
    next: z.json(),
    reason: z.string(),
    /**
     * What it waits for. `restart`: the next power cycle. `guest`: the guest was asked to let go of the device and has
     * not. `apply`: could be made at once; repeat the change, or send an empty one for all.
     */
    waiting: z.enum(['restart', 'guest', 'apply']),
  })
  .meta({ id: 'PendingChange' })
export type PendingChange = z.output<typeof PendingChange>

/** Facts read from the running QEMU; absent while off. */
export const VmLive = z
  .strictObject({
    pid: z.int(),
    qemuVersion: z.string(),
    /** Machine type QEMU reports. */
    machine: z.string(),
    vcpus: z.int(),
    memoryMiB: z.int(),
    /** Share of one host CPU over the last sampling interval, 0 to the number of vCPUs; null before two samples. */
    cpuLoad: z.number().nullable(),
    /** Resident memory of the QEMU process. */
    residentMiB: z.number().nullable(),
    /** Memory as the guest's balloon driver reports it; null without a driver. */
    guestMemory: z.strictObject({ totalMiB: z.number(), availableMiB: z.number().nullable() }).nullable(),
    disk: z.strictObject({ readBytesPerSecond: z.number(), writeBytesPerSecond: z.number() }).nullable(),
    /** True when a program answers on the guest-agent channel; null when unknown. */
    agent: z.boolean().nullable(),
    /** Addresses the guest agent reports, without loopback. */
    addresses: z.array(z.string()),
    viewers: z.strictObject({ vnc: z.int(), serial: z.int() }),
    /** Who is at its consoles, longest first. */
    watching: z.array(ConsoleViewer),
    /** Recordings under way. */
    recordings: z.array(RecordingMark),
    uid: z.int(),
    /** What the host's kernel holds it to. */
    limits: LimitsHeld,
    /** What stands between its QEMU and the host's files: a user of its own, bubblewrap, or nothing but its system call filter. */
    confinement: z.enum(['user', 'bubblewrap', 'none']),
  })
  .meta({ id: 'VmLive' })
export type VmLive = z.output<typeof VmLive>

/** Why disks that cannot be written stopped a guest, and what it waits for. */
export const DiskPause = z
  .strictObject({
    since: Instant,
    disks: z.array(
      z.strictObject({
        /** Device of the definition. */
        device: z.string(),
        /** `room`: its pool is full. `limit`: a quota, or the largest size a file may have. `other`: writing failed. */
        cause: z.enum(['room', 'limit', 'other']),
        /** Null where it is not a volume. */
        pool: z.strictObject({ id: PoolId, name: z.string() }).nullable(),
        /** In the pool when it was last looked at; null: not known. */
        freeBytes: z.number().nullable(),
        /** With so much free it goes on; null: not known. */
        neededBytes: z.number().nullable(),
      }),
    ),
    /** It goes on by itself once there is room in each pool. */
    resumesItself: z.boolean(),
    /** Who wants it to stay paused (`vmPause`); null: nobody. */
    heldBy: z.string().nullable(),
  })
  .meta({ id: 'DiskPause' })
export type DiskPause = z.output<typeof DiskPause>

/** Whether a power action is possible now, and if not, why; drives both the buttons and the API's refusals. */
export const ActionState = z.strictObject({ allowed: z.boolean(), reason: z.string().nullable() })

export const Vm = z
  .strictObject({
    id: VmId,
    name: z.string(),
    revision: Revision,
    state: VmState,
    /** QEMU's own run state (`query-status`), null while no QEMU runs. */
    runState: z.string().nullable(),
    since: Instant,
    /** What is happening in detail, for example why it is unmanageable; null when nothing needs saying. */
    stateDetail: z.string().nullable(),
    accelerator: VmAccelerator,
    spec: VmSpec,
    live: VmLive.optional(),
    pending: z.array(PendingChange),
    lastExit: VmExit.nullable(),
    /** Its disks stopped it. Absent when they did not. */
    diskPause: DiskPause.optional(),
    /** Long work under way on it: a snapshot, a backup, a move of a disk. Absent when there is none. */
    work: z
      .strictObject({
        what: z.string(),
        sentence: z.string(),
        by: z.string(),
        since: Instant,
        jobId: z.string().nullable(),
      })
      .optional(),
    /** It is cloned, not started. Absent where it is an ordinary VM. */
    template: z.strictObject({ by: z.string(), at: Instant }).optional(),
    /** What it is a clone of. Absent where it is none. */
    origin: VmOrigin.optional(),
    /** Its lease and whether it is idle. Absent where there is nothing to say. */
    lab: VmLab.optional(),
    owner: z.strictObject({ id: UserId, name: z.string() }),
    /** Absent where it is its owner's alone. */
    project: z.strictObject({ id: ProjectId, name: z.string() }).optional(),
    /** What the caller may do with it, whatever its state. Absent in what only describes one. */
    privileges: z.array(z.enum(PRIVILEGES)).optional(),
    /** What the caller may do now. */
    actions: z.record(z.enum([...PowerAction.options, 'change', 'delete', 'console']), ActionState),
    createdAt: Instant,
    updatedAt: Instant,
  })
  .meta({ id: 'Vm' })
export type Vm = z.output<typeof Vm>
