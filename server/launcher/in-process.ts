/** The verbs, done by the process that asks for them. */

import { closeSync } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { setRateLimit } from '#server/network/rate-limit.ts'
import { makeTap, removeTap } from '#server/network/taps.ts'
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import { readAllowedCpus } from '#server/platform/cpus.ts'
import { ensureSharedDir, openForAppending } from '#server/platform/fs.ts'
import { spawnDetached } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { isHelper } from '#server/vm/helpers/identity.ts'
import { isQemuOf } from '#server/vm/identity.ts'
import { openPathForGuests } from './open-path.ts'
import { GIVE_SCRIPT, give, giveArgs } from './own.ts'
import { askPam } from './pam.ts'
import { canGuestsRead } from './readable.ts'
import { permissionsOf } from './shapes.ts'
import {
  LaunchRequest,
  OwnRequest,
  PamRequest,
  PinRequest,
  PlainPath,
  PoolActError,
  ReadRequest,
  type RootActs,
  SignalRequest,
  TapLimitRequest,
  TapRequest,
} from './verbs.ts'

/** Where the C virtiofsd keeps its locks whatever it is told (QEMU 7.2: tools/virtiofsd/fuse_virtio.c). */
const VIRTIOFSD_LOCKS = '/run/virtiofsd'
const TASKSET_MS = 5000
/** Writing back what the kernel still holds of a large file takes its time. */
const SYNC_MS = 600_000

function isStill({ pid, startTime, target }: SignalRequest): boolean {
  const identity = { pid, startTime }
  if (target.kind === 'qemu') return isQemuOf(identity, target.vmId)
  return isHelper(identity, { socket: target.socket, option: { argv: target.argv } })
}

export function inProcessActs(): RootActs {
  const uid = process.getuid?.() ?? 0
  const dashboard = { uid, gid: guestIdentity(uid === 0).dashboardGid ?? process.getgid?.() ?? 0 }
  const mayGive = uid === 0
  return {
    async own(request) {
      const { path, as, sync } = OwnRequest.parse(request)
      await give(path, permissionsOf(as, dashboard), { mayGive, sync })
    },
    async ownInPool(request, child) {
      const { path, as, sync } = OwnRequest.parse(request)
      const args = giveArgs(path, permissionsOf(as, dashboard), { mayGive, sync })
      const { code, stderr } = await child.run(GIVE_SCRIPT, args, sync ? { timeoutMs: SYNC_MS } : {})
      if (code !== 0) throw new PoolActError(`exit ${code}: ${stderr.trim()}`)
    },
    openPath: (dir, readersGid) => openPathForGuests(PlainPath.parse(dir), readersGid),
    async launch(request) {
      const { argv, log } = LaunchRequest.parse(request)
      const [program = '', ...args] = argv
      const stderr = openForAppending(log)
      try {
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
    removeTap,
    async limitTap(request) {
      const { name, limit } = TapLimitRequest.parse(request)
      await setRateLimit(name, limit)
    },
    async makeVirtiofsdLocks() {
      if (mayGive) ensureSharedDir(VIRTIOFSD_LOCKS)
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
