/**
 * All that the dashboard does as root for its guests, as a short list of verbs with a schema for each request: what may
 * be asked is decided by text, apart from doing it (decision 0018). Nothing outside this folder changes an owner, starts
 * a program for a guest, signals one or makes an interface (`scripts/check-imports.mjs`).
 */
import * as z from 'zod'
import type { SpawnedProcess } from '#server/platform/process.ts'
import type { PoolChild } from '#server/storage/pool-child.ts'
import { Shape } from './shapes.ts'

/** Spelled out whole: nothing in it leads elsewhere by text alone. */
export const PlainPath = z
  .string()
  .max(4096)
  .refine((path) => path.startsWith('/') && !path.includes('\0'), 'An absolute path.')
  .refine((path) => path.split('/').every((part) => part !== '..' && part !== '.'), 'No steps back.')

const Word = z.string().refine((word) => !word.includes('\0'), 'No NUL.')
const Id = z.int().min(1).max(0xffff_fffe)
const VmIdText = z.string().regex(/^[0-9a-f-]{36}$/)
const Pid = z
  .int()
  .min(2)
  .max(2 ** 22)

export const OwnRequest = z.object({
  path: PlainPath,
  as: Shape,
  /** On disk for good when it resolves. */
  sync: z.boolean(),
})
export type OwnRequest = z.output<typeof OwnRequest>

export const LaunchRequest = z.object({
  /** Program and arguments: what gives up root first, then the program itself. */
  argv: z.array(Word).min(1).max(4096),
  /** A plain file that is there; the program's messages are added to it. */
  log: PlainPath,
})
export type LaunchRequest = z.output<typeof LaunchRequest>

export const SignalRequest = z.object({
  pid: Pid,
  startTime: z.int().min(0),
  /** Whose it must be still. */
  target: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('qemu'), vmId: VmIdText }),
    z.object({ kind: z.literal('helper'), socket: PlainPath, argv: z.array(Word).min(1).max(4096) }),
  ]),
  signal: z.enum(['SIGTERM', 'SIGKILL']),
})
export type SignalRequest = z.output<typeof SignalRequest>

export const PinRequest = z.object({
  pid: Pid,
  startTime: z.int().min(0),
  vmId: VmIdText,
  /** A thread of that process; QEMU's word for it is not enough. */
  tid: Pid,
  cpus: z
    .string()
    .max(4096)
    .regex(/^\d+(-\d+)?(,\d+(-\d+)?)*$/),
})
export type PinRequest = z.output<typeof PinRequest>

/** A name the kernel takes for an interface (15 bytes) and iproute2 for no option. */
const Interface = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/)
const TapName = z.string().regex(/^gd[A-Za-z0-9_.-]{1,13}$/)
const Limit = z.object({ inKBps: z.int().min(1).nullable(), outKBps: z.int().min(1).nullable() })

export const TapRequest = z.object({
  tap: z.object({
    card: z.string(),
    name: TapName,
    bridge: Interface,
    multiQueue: z.boolean(),
    mtu: z.int().min(68).max(65_535).nullable(),
    rateLimit: Limit.nullable(),
  }),
  /** Who will open it; null: the dashboard's own user. */
  user: z.object({ uid: Id, gid: Id, groups: z.array(Id) }).nullable(),
})
export type TapRequest = z.output<typeof TapRequest>

export const TapLimitRequest = z.object({ name: TapName, limit: Limit.nullable() })
export type TapLimitRequest = z.output<typeof TapLimitRequest>

export const TapNameRequest = z.object({ name: TapName })
export type TapNameRequest = z.output<typeof TapNameRequest>

export const OpenPathRequest = z.object({ dir: PlainPath, readersGid: Id.nullable() })
export type OpenPathRequest = z.output<typeof OpenPathRequest>

export const PoolRequest = z.object({
  path: PlainPath,
  /** File that says that a directory is a pool. */
  mark: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/),
})
export type PoolRequest = z.output<typeof PoolRequest>

export const SocketRequest = z.object({ socket: PlainPath })
export type SocketRequest = z.output<typeof SocketRequest>

export const EncloseRequest = z.object({
  /** Control group of one guest. */
  dir: PlainPath,
  pid: Pid,
})
export type EncloseRequest = z.output<typeof EncloseRequest>

export const CertificateRequest = z.object({ cert: z.string().max(4096), key: z.string().max(4096) })
export type CertificateRequest = z.output<typeof CertificateRequest>

export const ReadRequest = z.object({ path: PlainPath, readersGid: Id })
export type ReadRequest = z.output<typeof ReadRequest>

export const PamRequest = z.object({
  service: z.string().regex(/^[a-z0-9][a-z0-9_.-]{0,63}$/i),
  /** One that begins with a dash would be an option. */
  name: z.string().regex(/^[^-\0\n\r][^\0\n\r]{0,255}$/),
  /** A line break would be a second answer. */
  password: z.string().regex(/^[^\0\n\r]{1,4096}$/),
})
export type PamRequest = z.output<typeof PamRequest>

/** What the storage of a pool said when it refused. */
export class PoolActError extends Error {
  override readonly name = 'PoolActError'
}

export interface RootActs {
  /**
   * Gives a file or directory to whom it belongs. No link is followed, and it must be a plain file or a directory.
   * @throws UnsafeFileError; Error ENOENT, ELOOP, EPERM …
   */
  own(request: OwnRequest): Promise<void>
  /** The same in a pool that may hang. @throws EngineError pool_unavailable; PoolActError with what the storage said */
  ownInPool(request: OwnRequest, child: PoolChild): Promise<void>
  /**
   * Lets guests through to a directory of ours, by opening those above it that are root's and closed to everybody.
   * @returns what was changed, as sentences @throws ConfigError naming the directory at fault
   */
  openPath(request: OpenPathRequest): Promise<string[]>
  /**
   * Makes a directory of root's that is to be a pool the dashboard's: an empty one, or one that was a pool while the dashboard
   * itself was root, with what it had in there. Any other is left as it is.
   * @throws EngineError pool_unavailable
   */
  openPool(request: PoolRequest, child: PoolChild): Promise<void>
  /** Starts a program that outlives us. @throws Error with `code` ENOENT, EACCES, EAGAIN … */
  launch(request: LaunchRequest): Promise<SpawnedProcess>
  /** Signals that very process, as far as it is still whose it must be. False: it was not. */
  signal(request: SignalRequest): Promise<boolean>
  /** Binds a thread of a guest's QEMU to CPUs. @returns why not, in a few words; null: done */
  pin(request: PinRequest): Promise<string | null>
  /** @throws NetworkFault */
  makeTap(request: TapRequest): Promise<void>
  /** Idempotent. @throws NetworkFault */
  removeTap(request: TapNameRequest): Promise<void>
  /** @throws NetworkFault */
  limitTap(request: TapLimitRequest): Promise<void>
  /** The directory in which the C virtiofsd keeps its locks, whoever it runs as. @throws Error EACCES … */
  makeVirtiofsdLocks(): Promise<void>
  /** Removes the lock in there of a virtiofsd that has ended. Idempotent. @throws Error EACCES … */
  removeVirtiofsdLock(request: SocketRequest): Promise<void>
  /** Moves a process into the control group of its guest. @throws Error with `code` ESRCH, EACCES … */
  enclose(request: EncloseRequest): Promise<void>
  /** Text of the files the operator keeps the certificate in. @throws Error with `code` */
  readCertificate(request: CertificateRequest): Promise<{ cert: string; key: string }>
  /** Whether a guest's user could read the file; asked of the kernel. */
  canGuestsRead(request: ReadRequest): Promise<boolean>
  /** Whether PAM knows this person by this password. */
  authenticate(request: PamRequest): Promise<boolean>
}
