/**
 * Taking hold again of guests that outlived the dashboard, and facing what became of those that did not. Starts
 * nothing and ends nothing but guests that have shut themselves down already.
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import type { Clock } from '#server/platform/clock.ts'
import { fileFacts, listDir, readTail } from '#server/platform/fs.ts'
import { type FileLock, readLocks } from '#server/platform/proc-locks.ts'
import type { VmActor } from './actor.ts'
import { exitByReboot, exitWhileAway } from './exits.ts'
import { STDERR_TAIL_BYTES } from './failures.ts'
import { watchProcess } from './guest.ts'
import { clearLeftovers } from './helpers/surroundings.ts'
import { createScan, findQemu } from './identity.ts'
import { type RunRecord, readRecord } from './run-record.ts'
import type { AdoptReport } from './types.ts'

const PARALLEL = 16

interface AdoptContext {
  readonly runDir: string
  readonly bootId: string
  readonly clock: Clock
  warn(message: string, error?: unknown): void
}

/** @param actors the VMs that exist by the store, all of them still at rest */
export async function adoptEach(actors: ReadonlyMap<string, VmActor>, context: AdoptContext): Promise<AdoptReport> {
  const report = { adopted: [] as string[], ended: [] as string[], unmanageable: [] as string[] }
  const names = (await listDir(context.runDir)).sort()
  const locks = readLocks()
  const scan = createScan()
  const queue = names.filter((name) => actors.has(name))
  const worker = async () => {
    for (let vmId = queue.shift(); vmId !== undefined; vmId = queue.shift()) {
      const actor = actors.get(vmId)
      if (!actor || actor.hasProcess) continue
      try {
        const outcome = await adoptOne(actor, context, locks, scan)
        if (outcome) report[outcome].push(vmId)
      } catch (error) {
        context.warn(`VM ${vmId}: adoption failed`, error)
        report.unmanageable.push(vmId)
      }
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  // Only what looks like a run directory: the rest of the directory is other people's business altogether.
  const strangers = names.filter((name) => /^[0-9a-f-]{36}$/.test(name) && !actors.has(name))
  for (const list of Object.values(report)) list.sort()
  return { ...report, strangers }
}

async function adoptOne(
  actor: VmActor,
  context: AdoptContext,
  locks: readonly FileLock[],
  scan: (vmId: string) => number | null,
): Promise<'adopted' | 'ended' | 'unmanageable' | null> {
  const { vmId, paths } = actor
  const record = await readRecord(vmRunPaths(context.runDir, vmId).launch)
  // Pids and start times of an earlier boot mean nothing in this one.
  const rebooted = record !== null && context.bootId !== '' && record.bootId !== context.bootId
  const identity = rebooted ? null : await findQemu(vmId, paths.pidfile, record, locks, scan)
  if (identity) return await actor.adopt(watchProcess(identity), record)
  await clearLeftovers(record, paths, context.warn, !rebooted)
  await actor.foundEnded(await exitUnseen(actor, context, record, rebooted))
  return record?.process || rebooted ? 'ended' : null
}

/** Null when nothing ever ran: a launch was cut short before its spawn. */
async function exitUnseen(
  { paths }: VmActor,
  { clock }: AdoptContext,
  record: RunRecord | null,
  rebooted: boolean,
): Promise<VmExit | null> {
  const at = clock.now().toISOString()
  if (rebooted) return exitByReboot(at)
  const ran = record?.process || (await fileFacts(paths.pidfile).catch(() => null))
  return ran ? exitWhileAway(at, await readTail(paths.stderr, 4 * STDERR_TAIL_BYTES)) : null
}
