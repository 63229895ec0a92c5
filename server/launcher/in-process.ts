/** The verbs, done by the process that asks for them. */

import { closeSync, fstatSync } from 'node:fs'
import { access, constants, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setRateLimit } from '#server/network/rate-limit.ts'
import { makeTap, removeTap } from '#server/network/taps.ts'
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import { readAllowedCpus } from '#server/platform/cpus.ts'
import { ensureSharedDir, openForAppending, removeFile, UnsafeFileError } from '#server/platform/fs.ts'
import { spawnDetached } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { isHelper } from '#server/vm/helpers/identity.ts'
import { isQemuOf } from '#server/vm/identity.ts'
import { openPathForGuests } from './open-path.ts'
import { FOREIGN, GIVE_SCRIPT, give, giveArgs, isAmong } from './own.ts'
import { askPam } from './pam.ts'
import { ADOPT_SCRIPT, adoptArgs } from './pools.ts'
import { canGuestsRead } from './readable.ts'
import { permissionsOf } from './shapes.ts'
import {
  CertificateRequest,
  EncloseRequest,
  LaunchRequest,
  OpenPathRequest,
  OwnRequest,
  PamRequest,
  PinRequest,
  PoolActError,
  PoolRequest,
  ReadRequest,
  type RootActs,
  SignalRequest,
  SocketRequest,
  TapLimitRequest,
  TapNameRequest,
  TapRequest,
} from './verbs.ts'
import { VIRTIOFSD_LOCKS, virtiofsdLock } from './virtiofsd-locks.ts'

const TASKSET_MS = 5000
/** Writing back what the kernel still holds of a large file takes its time. */
const SYNC_MS = 600_000
/** Thousands of files may have to change hands. */
const ADOPT_MS = 60_000

export interface ActsFor {
  /** The dashboard's user, where that is not ours. */
  readonly dashboard?: { readonly uid: number; readonly gid: number }
  /** Whose files may be handed over (`GiveOptions.owners`). */
  readonly owners?: readonly [number, number]
}

function isStill({ pid, startTime, target }: SignalRequest): boolean {
  const identity = { pid, startTime }
  if (target.kind === 'qemu') return isQemuOf(identity, target.vmId)
  return isHelper(identity, { socket: target.socket, option: { argv: target.argv } })
}

export function inProcessActs(options: ActsFor = {}): RootActs {
  const uid = process.getuid?.() ?? 0
  const mayGive = uid === 0
  const dashboard = options.dashboard ?? {
    uid,
    gid: guestIdentity(mayGive).dashboardGid ?? process.getgid?.() ?? 0,
  }
  const owners = options.owners ?? null
  return {
    async own(request) {
      const { path, as, sync } = OwnRequest.parse(request)
      await give(path, permissionsOf(as, dashboard), { mayGive, sync, owners })
    },
    async ownInPool(request, child) {
      const { path, as, sync } = OwnRequest.parse(request)
      const args = giveArgs(path, permissionsOf(as, dashboard), { mayGive, sync, owners })
      const { code, stderr } = await child.run(GIVE_SCRIPT, args, sync ? { timeoutMs: SYNC_MS } : {})
      if (code !== 0) throw new PoolActError(`exit ${code}: ${stderr.trim()}`)
    },
    async openPath(request) {
      const { dir, readersGid } = OpenPathRequest.parse(request)
      return await openPathForGuests(dir, readersGid, dashboard.uid, owners !== null)
    },
    async openPool(request, child) {
      const { path, mark } = PoolRequest.parse(request)
      // As root we can write to it as it is.
      if (!mayGive || dashboard.uid === uid) return
      await child.run(ADOPT_SCRIPT, adoptArgs(path, mark, dashboard), { timeoutMs: ADOPT_MS })
    },
    async launch(request) {
      const { argv, log } = LaunchRequest.parse(request)
      const [program = '', ...args] = argv
      const stderr = openForAppending(log)
      try {
        // Judged on what was opened: the name may lead elsewhere by now.
        if (owners !== null && !isAmong(owners, fstatSync(stderr).uid)) throw new UnsafeFileError(FOREIGN)
        return await spawnDetached(program, args, stderr)
      } finally {
        // The program has its own copy.
        closeSync(stderr)
      }
    },
    async signal(request) {
      const asked = SignalRequest.parse(request)
      if (!isStill(asked)) return false
      try {
        process.kill(asked.pid, asked.signal)
        return true
      } catch {
        return false
      }
    },
    async pin(request) {
      const { pid, startTime, vmId, tid, cpus } = PinRequest.parse(request)
      // A guest that has taken over QEMU may name any thread of the host.
      if (!isQemuOf({ pid, startTime }, vmId) || readAllowedCpus(pid, tid) === null)
        return 'the thread is none of this guest’s'
      const program = findExecutable('taskset')
      if (program === null) return 'the program taskset is not installed'
      const result = await captureOutput(program, ['-pc', cpus, String(tid)], { timeoutMs: TASKSET_MS })
      if (result?.code === 0) return null
      const words = result?.stderr.trim().split('\n').at(-1)
      return words?.replace(/^taskset: /, '') || 'no reason given'
    },
    async makeTap(request) {
      const { tap, user } = TapRequest.parse(request)
      await makeTap(tap, user)
    },
    async removeTap(request) {
      await removeTap(TapNameRequest.parse(request).name)
    },
    async limitTap(request) {
      const { name, limit } = TapLimitRequest.parse(request)
      await setRateLimit(name, limit)
    },
    async makeVirtiofsdLocks() {
      if (mayGive) ensureSharedDir(VIRTIOFSD_LOCKS)
    },
    async removeVirtiofsdLock(request) {
      await removeFile(virtiofsdLock(SocketRequest.parse(request).socket))
    },
    async enclose(request) {
      const { dir, pid } = EncloseRequest.parse(request)
      await writeFile(join(dir, 'cgroup.procs'), String(pid), { flag: 'r+' })
    },
    async readCertificate(request) {
      const { cert, key } = CertificateRequest.parse(request)
      return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') }
    },
    async canGuestsRead(request) {
      const { path, readersGid } = ReadRequest.parse(request)
      // Without setpriv no guest gets a user of its own either.
      return (await canGuestsRead(path, readersGid)) ?? (await isReadable(path))
    },
    async authenticate(request) {
      const asked = PamRequest.safeParse(request)
      return asked.success && (await askPam(asked.data.service, asked.data.name, asked.data.password))
    },
  }
}

const isReadable = (path: string): Promise<boolean> =>
  access(path, constants.R_OK).then(
    () => true,
    () => false,
  )
