/**
 * Guests that their disks stopped: which disks, why, and going on once room was made.
 *
 *   run state io-error ─▶ QEMU is asked which disks ─▶ told, recorded ─▶ pools are watched ─▶ room: resume
 *                                                        └── somebody pauses it: it stays, whatever comes
 *
 * Resumed by itself is only what waits for room alone, on every disk, and nobody wants paused: not a guest that somebody
 * stopped, nor one whose write failed for another reason. One that stops at once although there is room has met a limit
 * that the free room does not show, and waits for a person. What is known lies in the guest's run directory, so that it
 * lasts as long as the run, whatever happens to the dashboard, and can be written when the data directory is full.
 */

import * as z from 'zod'
import { PoolId } from '#lib/schema/ids.ts'
import type { DiskPause } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import { dropFile, readPlainFile, replaceFile } from '#server/platform/fs.ts'
import { dashboardUids } from '#server/storage/identity.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import { bytesInWords } from '#server/storage/pool-state.ts'
import type { Pools } from '#server/storage/pools.ts'
import { resumeLine } from '#server/storage/thin-room.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { type StopCause, stopOf, stoppedDisks } from '#server/vm/block/stopped-disks.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import type { GuestWork } from '#server/vm/work.ts'
import { pauseSentence } from './disk-pause-words.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { VmRecords } from './vm-records.ts'

export interface DiskPauses {
  /** A run of a guest has begun, or was found. */
  follow(work: GuestWork): void
  /** For `Supervisor.onChange`. */
  runtimeChanged(vmId: string, runtime: VmRuntime): void
  /** A new object on every change; null: its disks did not stop it. */
  of(vmId: string): DiskPause | null
  /** It stays paused when there is room. @returns false when its disks did not stop it @throws EngineError no_space */
  hold(vmId: string, by: string): boolean
  close(): void
}

export interface DiskPausesDeps {
  readonly runDir: string
  readonly supervisor: Pick<Supervisor, 'resume' | 'runtime'>
  readonly records: Pick<VmRecords, 'get'>
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly journal: Pick<Journal, 'write'>
  /** Whether long work on the VM is under way; it is not disturbed. */
  readonly isBusy: (vmId: string) => boolean
  /** @throws EngineError while it shall not run, whatever its disks: its lease is over, a device is somebody else's */
  readonly assertMayRun: (vmId: string) => void
  readonly onChange: (vmId: string) => void
  readonly warn: (message: string, error?: unknown) => void
}

/** While somebody waits for room, pools are looked at this often. Milliseconds. */
const LOOK_EVERY_MS = 3000
/** One that stops again this soon, with room, has met something else. Milliseconds. */
const AT_ONCE_MS = 15_000
const MAX_FILE_BYTES = 65_536
/** Name of the dashboard itself in records. */
const ITSELF = 'Guestdeck'

const Stored = z.object({
  v: z.literal(1),
  since: z.string(),
  heldBy: z.string().nullable(),
  disks: z.array(z.object({ device: z.string(), cause: z.enum(['room', 'limit', 'other']) })),
})
type Stored = z.output<typeof Stored>

interface Followed {
  readonly work: GuestWork
  readonly causes: Map<string, StopCause>
  isAsking: boolean
  /** It was stopped already when it was found: what an earlier dashboard wrote down counts. */
  wasFound: boolean
}

export function createDiskPauses(deps: DiskPausesDeps): DiskPauses {
  const { supervisor, pools, volumes, health, journal } = deps
  const guests = new Map<string, Followed>()
  const stored = new Map<string, Stored>()
  const views = new Map<string, DiskPause>()
  const resumedAt = new Map<string, number>()
  const resuming = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  const fileOf = (vmId: string) => vmRunPaths(deps.runDir, vmId).pause
  const isStopped = (vmId: string): boolean => supervisor.runtime(vmId).runState === 'io-error'

  const poolIdOf = (vmId: string, device: string): string | null => {
    const volume = volumes.find(vmId, device)
    return volume === null ? null : (volumes.layer(volume.head)?.poolId ?? volume.poolId)
  }

  const viewOf = (vmId: string, { since, heldBy, disks }: Stored): DiskPause => {
    const shown = disks.map(({ device, cause }) => {
      const poolId = poolIdOf(vmId, device)
      const look = poolId === null ? null : health.view(poolId).look
      return {
        ...{ device, cause },
        pool: poolId === null ? null : { id: PoolId.parse(poolId), name: pools.get(poolId)?.name ?? '' },
        freeBytes: look?.freeBytes ?? null,
        neededBytes: look === null ? null : resumeLine(look.totalBytes),
      }
    })
    const waitsForRoom = shown.every(({ cause, pool }) => cause === 'room' && pool !== null)
    return { since, disks: shown, heldBy, resumesItself: heldBy === null && waitsForRoom && shown.length > 0 }
  }

  const refresh = (vmId: string): void => {
    const known = stored.get(vmId)
    if (known === undefined) return
    const after = viewOf(vmId, known)
    if (JSON.stringify(views.get(vmId)) === JSON.stringify(after)) return
    views.set(vmId, after)
    deps.onChange(vmId)
  }

  const note = (vmId: string, what: string, text: string, result: 'ok' | 'failed'): void => {
    const record = deps.records.get(vmId)
    if (record === null) return
    journal.write({
      ...{ what, result, caller: null, topic: 'vm', objectId: vmId, objectName: record.spec.name },
      ...{ text: `${record.spec.name}: ${text}`, ownerId: record.ownerId },
    })
  }

  const poolsWaitedFor = (): Set<string> =>
    new Set(
      [...views.values()].flatMap(({ resumesItself, disks }) =>
        resumesItself ? disks.flatMap(({ pool }) => (pool === null ? [] : [pool.id])) : [],
      ),
    )

  const lookAgain = (): void => {
    clearTimeout(timer)
    if (isClosed || poolsWaitedFor().size === 0) return
    timer = setTimeout(async () => {
      // A pool that hangs answers late and holds up nobody else's.
      await Promise.all([...poolsWaitedFor()].map((id) => health.look(id).catch(() => {})))
      for (const vmId of views.keys()) consider(vmId)
      lookAgain()
    }, LOOK_EVERY_MS).unref()
  }

  const hasRoom = ({ disks }: DiskPause): boolean =>
    disks.every(
      ({ pool, freeBytes, neededBytes }) =>
        pool !== null &&
        freeBytes !== null &&
        neededBytes !== null &&
        freeBytes >= neededBytes &&
        !['missing', 'unreachable', 'read-only'].includes(health.view(pool.id).state),
    )

  const mayRun = (vmId: string): boolean => {
    try {
      deps.assertMayRun(vmId)
      return true
    } catch (error) {
      if (error instanceof EngineError) return false
      throw error
    }
  }

  /** Lets it go on when all it waited for is there. */
  const consider = (vmId: string): void => {
    refresh(vmId)
    const view = views.get(vmId)
    if (view === undefined || !view.resumesItself || resuming.has(vmId)) return
    if (!isStopped(vmId) || deps.isBusy(vmId) || !mayRun(vmId) || !hasRoom(view)) return
    resuming.add(vmId)
    resumedAt.set(vmId, performance.now())
    supervisor
      .resume(vmId, ITSELF)
      .then(() => {
        const [disk] = view.disks
        note(
          vmId,
          'vmResume',
          `went on by itself: ${bytesInWords(disk?.freeBytes ?? 0)} are free in the storage pool ${disk?.pool?.name}.`,
          'ok',
        )
      })
      .catch((error: unknown) => deps.warn(`VM ${vmId} could not go on although there is room`, error))
      .finally(() => resuming.delete(vmId))
  }

  /** Asks which disks stopped it, and why. */
  const inquire = async (vmId: string, guest: Followed): Promise<void> => {
    const before = stored.get(vmId) ?? (guest.wasFound ? await readStored(fileOf(vmId)) : null)
    const known = new Map(before?.disks.map(({ device, cause }) => [device, cause]))
    const found = await stoppedDisks(guest.work, guest.causes, known)
    const ids = new Set(found.flatMap(({ device }) => poolIdOf(vmId, device) ?? []))
    await Promise.all([...ids].map((id) => health.look(id)))
    if (isClosed || !isStopped(vmId) || found.length === 0 || guests.get(vmId) !== guest) return
    const isAtOnce = performance.now() - (resumedAt.get(vmId) ?? Number.NEGATIVE_INFINITY) < AT_ONCE_MS
    const disks = found.map(({ device, cause }) => {
      const poolId = poolIdOf(vmId, device)
      const look = poolId === null ? null : health.view(poolId).look
      const isElsewhere = cause === 'room' && isAtOnce && look !== null && look.freeBytes >= resumeLine(look.totalBytes)
      return { device, cause: isElsewhere ? ('limit' as const) : cause }
    })
    const state: Stored = { v: 1, since: supervisor.runtime(vmId).since, heldBy: before?.heldBy ?? null, disks }
    guest.wasFound = false
    stored.set(vmId, state)
    try {
      replaceFile(fileOf(vmId), JSON.stringify(state))
    } catch (error) {
      // After a restart QEMU is asked again, and knows all but a limit.
      deps.warn(`VM ${vmId}: why its disks stopped it could not be recorded`, error)
    }
    refresh(vmId)
    const view = views.get(vmId)
    if (before === null && view !== undefined) note(vmId, 'vmDiskPause', pauseSentence(view), 'failed')
    consider(vmId)
    lookAgain()
  }

  const ask = (vmId: string, guest: Followed): void => {
    if (guest.isAsking) return
    guest.isAsking = true
    const told = guest.causes.size
    inquire(vmId, guest)
      .catch((error: unknown) => {
        if (!guest.work.signal.aborted) deps.warn(`VM ${vmId}: QEMU did not say which disk stopped it`, error)
      })
      .finally(() => {
        guest.isAsking = false
        if (guest.causes.size > told && isStopped(vmId)) ask(vmId, guest)
      })
  }

  const over = (vmId: string): void => {
    if (!stored.delete(vmId)) return
    views.delete(vmId)
    dropFile(fileOf(vmId))
    deps.onChange(vmId)
  }

  const stopHealth = health.onChange(() => {
    for (const vmId of views.keys()) consider(vmId)
  })

  return {
    follow(work) {
      const wasFound = work.runState === 'io-error'
      const guest: Followed = { work, causes: new Map(), isAsking: false, wasFound }
      guests.set(work.vmId, guest)
      if (!wasFound) dropFile(fileOf(work.vmId))
      const stop = work.onEvent((event) => {
        // What it told before it went on is over.
        if (event.event === 'RESUME') guest.causes.clear()
        const found = stopOf(event)
        if (found === null || guest.causes.has(found.node)) return
        guest.causes.set(found.node, found.cause)
        // Requests to another disk may fail after the first has stopped the guest.
        if (stored.has(work.vmId)) ask(work.vmId, guest)
      })
      work.signal.addEventListener(
        'abort',
        () => {
          stop()
          if (guests.get(work.vmId) === guest) guests.delete(work.vmId)
          resumedAt.delete(work.vmId)
        },
        { once: true },
      )
    },
    runtimeChanged(vmId, { runState, state }) {
      // While it does not answer, nothing is known to have changed.
      if (state === 'unmanageable') return
      if (runState !== 'io-error') {
        over(vmId)
        return
      }
      const guest = guests.get(vmId)
      if (guest !== undefined && !stored.has(vmId)) ask(vmId, guest)
    },
    of: (vmId) => views.get(vmId) ?? null,
    hold(vmId, by) {
      const known = stored.get(vmId)
      if (known === undefined || !isStopped(vmId) || resuming.has(vmId)) return false
      const after: Stored = { ...known, heldBy: by }
      try {
        replaceFile(fileOf(vmId), JSON.stringify(after))
      } catch (cause) {
        throw new EngineError('no_space', 'That it shall stay paused could not be recorded. Make room and try again.', {
          cause,
        })
      }
      stored.set(vmId, after)
      refresh(vmId)
      return true
    },
    close() {
      isClosed = true
      clearTimeout(timer)
      stopHealth()
    },
  }
}

/** Null when there is none, or none to be believed: the directory is QEMU's. */
async function readStored(path: string): Promise<Stored | null> {
  try {
    const text = await readPlainFile(path, MAX_FILE_BYTES, { owners: dashboardUids() })
    return Stored.safeParse(JSON.parse(text.toString('utf8'))).data ?? null
  } catch {
    return null
  }
}
