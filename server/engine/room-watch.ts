/**
 * Warns before pools are full. On the file of every thin disk of a running guest a bell is set (a write threshold) at
 * its share of the room left above the line; when one rings, the room is counted again and new bells are set. Pools are
 * looked at every few seconds besides: room also goes to uploads, backups and other programs.
 *
 *   guest found, disk plugged, overlay on top, bell, room changed ─▶ survey of the pool ─▶ bells, warnings
 *
 * Raw files have no bell: where in the file a guest writes says nothing about what it takes. They count with the others.
 */
import type { PoolHealth } from '#server/storage/pool-health.ts'
import { bytesInWords } from '#server/storage/pool-state.ts'
import type { Pools } from '#server/storage/pools.ts'
import { type GrowingFile, isRunningOut, type PoolRoom, thresholdsOf, warnLine } from '#server/storage/thin-room.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import { growthOfHead } from '#server/storage/volume-sums.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import { type OpenFile, openFiles, setThreshold, THRESHOLD_EVENT } from '#server/vm/block/write-threshold.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import type { GuestWork } from '#server/vm/work.ts'
import type { Journal } from './journal.ts'

/** A disk of a running guest that may use up its pool. */
export interface RoomWarning {
  readonly vmId: string
  readonly device: string
  readonly volumeId: string
  readonly poolId: string
  /** What it may still take. */
  readonly growthBytes: number
}

export interface RoomWatch {
  /** A run of a guest has begun, or was found. */
  follow(work: GuestWork): void
  /** For `Supervisor.onChange`: disks come and go while a guest runs. */
  runtimeChanged(vmId: string, runtime: Pick<VmRuntime, 'launchedPlan'>): void
  warnings(): readonly RoomWarning[]
  close(): void
}

export interface RoomWatchDeps {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly journal: Pick<Journal, 'write'>
  readonly onChange: (poolId: string) => void
  readonly warn: (message: string, error?: unknown) => void
}

/** Bells that ring together are one reason to count. Milliseconds. */
const SETTLE_MS = 200
/** Less of the span than this came or went: the bells still hang well. */
const DRIFT = 0.25

interface Found {
  readonly volume: VolumeDocument
  readonly vmId: string
  readonly file: OpenFile
  readonly growthBytes: number
  readonly hasBell: boolean
}

export function createRoomWatch(deps: RoomWatchDeps): RoomWatch {
  const { pools, volumes, health } = deps
  const guests = new Map<string, GuestWork>()
  /** What each was running with: disks that are plugged in and overlays put on top change it. */
  const plans = new Map<string, VmRuntime['launchedPlan']>()
  const warnings = new Map<string, RoomWarning[]>()
  /** Free room when the bells of a pool were last set. */
  const setAt = new Map<string, number>()
  const timers = new Map<string, NodeJS.Timeout>()
  const running = new Set<string>()
  let isClosed = false

  const poolOf = (volume: VolumeDocument): string => volumes.layer(volume.head)?.poolId ?? volume.poolId
  const poolsOfVm = (vmId: string) => new Set(volumes.ofVm(vmId).map(poolOf))

  const roomOf = (poolId: string): PoolRoom | null => {
    const { look, reserveBytes } = health.view(poolId)
    return look === null ? null : { totalBytes: look.totalBytes, freeBytes: look.freeBytes, reserveBytes }
  }

  /** Disks of one guest that grow in this pool, as its QEMU has them open. @throws QmpError */
  const ask = async (work: GuestWork, poolId: string): Promise<Found[]> => {
    const mine = volumes.ofVm(work.vmId).filter((volume) => poolOf(volume) === poolId)
    if (mine.length === 0) return []
    const files = await openFiles(work)
    return mine.flatMap((volume) => {
      const head = volumes.layer(volume.head)
      const file = head === null ? undefined : files.get(volumes.pathOf(head))
      if (head === null || file === undefined || volumes.childrenOf(head.id).length > 0) return []
      const drive = work.spec?.disks.find(({ id }) => id === volume.vm?.device)
      if (drive?.device === 'disk' && drive.readOnly) return []
      const growthBytes = growthOfHead({
        ...{ sizeBytes: volume.sizeBytes, format: head.format, allocatedBytes: file.allocatedBytes },
        holdsSnapshots: volumes.heldBy(head.id).length > 0,
      })
      return [{ volume, vmId: work.vmId, file, growthBytes, hasBell: head.format === 'qcow2' }]
    })
  }

  const askAll = async (works: readonly GuestWork[], poolId: string): Promise<Found[]> =>
    (
      await Promise.all(
        works.map((work) =>
          ask(work, poolId).catch((error: unknown) => {
            if (!work.signal.aborted) deps.warn(`VM ${work.vmId}: its disk files could not be looked at`, error)
            return []
          }),
        ),
      )
    ).flat()

  const isPast = async (
    set: readonly Found[],
    thresholds: ReadonlyMap<string, number>,
    poolId: string,
  ): Promise<boolean> => {
    const ids = new Set(set.map(({ vmId }) => vmId))
    const now = await askAll(
      [...guests.values()].filter(({ vmId }) => ids.has(vmId)),
      poolId,
    )
    return now.some(({ volume, file, hasBell }) => {
      const threshold = thresholds.get(volume.id) ?? 0
      return hasBell && threshold > 0 && file.lengthBytes > threshold
    })
  }

  const survey = async (poolId: string): Promise<void> => {
    const found = await askAll([...guests.values()], poolId)
    if (found.length > 0) await health.look(poolId)
    const room = roomOf(poolId)
    if (room === null || isClosed) return
    const growing: GrowingFile[] = found.map(({ volume, file, growthBytes }) => ({
      ...{ key: volume.id, lengthBytes: file.lengthBytes, growthBytes },
    }))
    setAt.set(poolId, room.freeBytes)
    const thresholds = thresholdsOf(growing, room)
    const changed = found.filter(({ volume, file, hasBell }) => {
      const wanted = hasBell ? (thresholds.get(volume.id) ?? 0) : 0
      return wanted !== file.threshold
    })
    await Promise.all(
      changed.map(async ({ volume, vmId, file, hasBell }) => {
        const work = guests.get(vmId)
        if (work === undefined) return
        const bytes = hasBell ? (thresholds.get(volume.id) ?? 0) : 0
        await setThreshold(work, file.node, bytes).catch((error: unknown) => {
          // It ended, or the disk was taken out meanwhile, which is a reason to count again.
          if (!work.signal.aborted) deps.warn(`VM ${vmId}: no warning could be set on ${volume.name}`, error)
        })
      }),
    )
    // One that wrote past its bell before it hung does not ring it, if it writes no more.
    if (changed.length > 0 && (await isPast(changed, thresholds, poolId))) soon(poolId)
    tell(poolId, found, room, isRunningOut(growing, room))
  }

  const tell = (poolId: string, found: readonly Found[], room: PoolRoom, isOut: boolean): void => {
    const before = warnings.get(poolId) ?? []
    const after = isOut
      ? found
          .filter(({ growthBytes }) => growthBytes > 0)
          .map(({ volume, vmId, growthBytes }) => ({
            ...{ vmId, device: volume.vm?.device ?? '', volumeId: volume.id, poolId, growthBytes },
          }))
      : []
    if (after.length === 0) warnings.delete(poolId)
    else warnings.set(poolId, after)
    if (before.length === 0 && after.length > 0) {
      const name = pools.get(poolId)?.name ?? ''
      const growth = after.reduce((sum, { growthBytes }) => sum + growthBytes, 0)
      deps.journal.write({
        ...{ what: 'poolFilling', result: 'failed', caller: null, topic: 'pool', objectId: poolId, objectName: name },
        text: `The storage pool ${name} is filling: ${bytesInWords(room.freeBytes)} are free, and running guests may still write ${bytesInWords(growth)}.`,
      })
    }
    if (JSON.stringify(before) !== JSON.stringify(after)) deps.onChange(poolId)
  }

  const soon = (poolId: string): void => {
    if (isClosed || timers.has(poolId)) return
    timers.set(
      poolId,
      setTimeout(() => {
        timers.delete(poolId)
        // What changes during a survey is a reason for the next.
        if (running.has(poolId)) {
          soon(poolId)
          return
        }
        running.add(poolId)
        survey(poolId)
          .catch((error: unknown) => deps.warn(`The room in the pool ${poolId} could not be watched`, error))
          .finally(() => running.delete(poolId))
      }, SETTLE_MS).unref(),
    )
  }
  const soonFor = (vmId: string): void => {
    for (const poolId of poolsOfVm(vmId)) soon(poolId)
  }

  const stopHealth = health.onChange((poolId) => {
    const room = roomOf(poolId)
    const before = setAt.get(poolId)
    if (room === null || before === undefined || running.has(poolId)) return
    const line = warnLine(room)
    const span = Math.abs(before - line)
    if (Math.abs(before - room.freeBytes) > span * DRIFT || before < line !== room.freeBytes < line) soon(poolId)
  })
  const stopVolumes = volumes.onChange((id, volume) => {
    const holder = volume?.vm?.id
    // A new top layer, another size, another pool.
    if (volume !== null && holder !== undefined && guests.has(holder)) soon(poolOf(volume))
    else for (const [poolId, list] of warnings) if (list.some(({ volumeId }) => volumeId === id)) soon(poolId)
  })

  return {
    follow(work) {
      guests.set(work.vmId, work)
      const stop = work.onEvent(({ event }) => {
        if (event === THRESHOLD_EVENT) soonFor(work.vmId)
      })
      work.signal.addEventListener(
        'abort',
        () => {
          stop()
          if (guests.get(work.vmId) === work) guests.delete(work.vmId)
          plans.delete(work.vmId)
          soonFor(work.vmId)
        },
        { once: true },
      )
      soonFor(work.vmId)
    },
    runtimeChanged(vmId, { launchedPlan }) {
      if (launchedPlan === null || plans.get(vmId) === launchedPlan) return
      plans.set(vmId, launchedPlan)
      if (guests.has(vmId)) soonFor(vmId)
    },
    warnings: () => [...warnings.values()].flat(),
    close() {
      isClosed = true
      stopHealth()
      stopVolumes()
      for (const timer of timers.values()) clearTimeout(timer)
      timers.clear()
    },
  }
}
