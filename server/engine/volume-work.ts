/**
 * Work on volumes: growing, copying, converting, compacting, moving, and the trash. Whatever makes a new file fills it
 * while it is announced as half made, then takes it in the place of the old one in one write of the store: a crash
 * leaves the old file or the new one, whole.
 */
import type { Job } from '#lib/schema/job.ts'
import type { VolumeCopy, VolumeMove } from '#lib/schema/storage.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import type { PoolHealth } from '#server/storage/pool-health.ts'
import { bytesInWords } from '#server/storage/pool-state.ts'
import type { Pools } from '#server/storage/pools.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { Usage } from '#server/storage/usage.ts'
import type { VolumeDocument } from '#server/storage/volume-documents.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { RunningPlan } from './running-plan.ts'
import type { Caller } from './types.ts'
import type { BusyDocument, VmBusy } from './vm-busy.ts'
import { createVolumeFill, type NewFile } from './volume-fill.ts'
import type { VolumeLocks } from './volume-locks.ts'
import { createLiveMover, MOVE_WORK } from './volume-move.ts'

export interface VolumeWorkDeps {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly health: PoolHealth
  readonly usage: Usage
  readonly qemuImg: QemuImg
  readonly jobs: JobRegistry
  readonly journal: Journal
  readonly locks: VolumeLocks
  readonly readersGid: number | null
  readonly busy: VmBusy
  readonly supervisor: Pick<Supervisor, 'runtime' | 'work' | 'onChange'>
  readonly planOf: RunningPlan
  readonly warn: (message: string, error?: unknown) => void
  readonly now?: () => Date
}

export interface VolumeWork {
  /** @throws EngineError not_found, conflict */
  assertPoolForDisks(poolId: string): void
  /** @throws EngineError name_taken */
  assertNameFree(ownerId: string, name: string, but: string | null): void
  /** @throws EngineError conflict */
  assertGrowth(volume: VolumeDocument, sizeBytes: number, field: string): void
  /** @param ownerId of the VM @throws EngineError in_use, conflict, forbidden */
  assertAttachable(volume: VolumeDocument, ownerId: string, caller: Caller): void
  /** Nobody may have it open, now or until it resolves. @throws EngineError in_use, pool_unavailable, no_space */
  growOffline(volume: VolumeDocument, sizeBytes: number): Promise<void>
  /** The same where the caller knows that no guest has it open. */
  growFile(volume: VolumeDocument, sizeBytes: number): Promise<void>
  copy(caller: Caller, volume: VolumeDocument, input: VolumeCopy): Promise<Job>
  convert(caller: Caller, volume: VolumeDocument, format: 'qcow2' | 'raw'): Promise<Job>
  compact(caller: Caller, volume: VolumeDocument): Promise<Job>
  move(caller: Caller, volume: VolumeDocument, input: VolumeMove): Promise<Job>
  /** Puts a volume in the trash, or removes it where there is none. Nobody may have it open. */
  trash(volume: VolumeDocument, vmName: string | null): Promise<void>
  /** Makes a released volume free, its files nobody's but ours. */
  setFree(volume: VolumeDocument): Promise<void>
  /** Removes what has been in the trash for its time. Never throws. */
  purge(): Promise<void>
}

export interface TrashOptions {
  readonly trashDays: number
}

const DAY_MS = 86_400_000

export function createVolumeWork(deps: VolumeWorkDeps & TrashOptions): VolumeWork {
  const { pools, volumes, health, qemuImg, jobs, journal, locks, busy } = deps
  const { layerOf, toolUser, assertReadable, reserve, fillNew } = createVolumeFill(deps)
  const mover = createLiveMover(deps)
  const now = () => (deps.now ?? (() => new Date()))()

  const fold = (name: string) => name.normalize('NFKC').toLowerCase()
  const assertNameFree: VolumeWork['assertNameFree'] = (ownerId, name, but) => {
    const taken = volumes
      .all()
      .some(
        (one) => one.id !== but && one.trashedAt === null && one.ownerId === ownerId && fold(one.name) === fold(name),
      )
    if (taken) throw new EngineError('name_taken', 'There is already a disk of this name.', { field: 'name' })
  }
  const assertPoolForDisks: VolumeWork['assertPoolForDisks'] = (poolId) => {
    const pool = pools.get(poolId)
    if (pool === null) throw new EngineError('bad_input', 'There is no such storage pool.', { field: 'poolId' })
    if (!pool.purposes.includes('disks'))
      throw new EngineError('conflict', `The storage pool ${pool.name} is not for disks.`, { field: 'poolId' })
  }

  const isRunning = ({ vm }: VolumeDocument): boolean => {
    if (vm === null) return false
    const { launchedSpec, state } = deps.supervisor.runtime(vm.id)
    // A guest whose disks are not on record may have any of them.
    if (launchedSpec === null) return state !== 'off' && state !== 'crashed'
    return launchedSpec.disks.some((drive) => drive.id === vm.device)
  }
  const assertIdle = (volume: VolumeDocument, what: string): void => {
    if (isRunning(volume))
      throw new EngineError('in_use', `A running guest writes to this disk; shut it down before it is ${what}.`)
  }
  /** Snapshots live in these files: a copy that takes their place would lose them. */
  const assertNoSnapshots = (volume: VolumeDocument, what: string): void => {
    for (const { layerId } of volumes.chain(volume.head)) {
      const held = layerId === null ? [] : volumes.heldBy(layerId)
      if (held.length > 0)
        throw new EngineError(
          'conflict',
          `The disk cannot be ${what}: ${held[0]} is kept in its files. Delete the snapshots first.`,
        )
    }
    assertNobodyAbove(volume, what)
  }
  const assertNobodyAbove = (volume: VolumeDocument, what: string): void => {
    const [need] = volumes.needs(volume.head)
    if (need !== undefined) throw new EngineError('in_use', `The disk cannot be ${what}: ${need} stands on it.`)
  }
  /** A guest between on and off holds neither its files still nor its QEMU. */
  const assertMovable = ({ vm }: VolumeDocument): void => {
    const state = vm === null ? 'off' : deps.supervisor.runtime(vm.id).state
    if (['off', 'crashed', 'running', 'paused'].includes(state)) return
    throw new EngineError(
      'wrong_state',
      state === 'unmanageable'
        ? 'The guest does not answer, so its disk cannot be moved. Cut its power, or wait until it does.'
        : 'The guest is just now being started, stopped or saved; try again when that is over.',
    )
  }
  const start = (
    caller: Caller,
    volume: VolumeDocument,
    kind: Extract<Job['kind'], `volume-${string}`>,
    words: { readonly title: string; readonly busy: string; readonly done: string },
    /** @param note what its recovery is given after a crash; does nothing for a free disk */
    work: (context: JobContext, note: (about: BusyDocument['about']) => void) => Promise<string>,
  ): Job => {
    if (volume.vm !== null) busy.assertFree(volume.vm.id, 'change')
    const done = locks.take(volume.id, words.busy)
    /** Nobody may start, change or delete its VM meanwhile. */
    const guarded = (context: JobContext): Promise<string> =>
      volume.vm === null
        ? work(context, () => {})
        : busy.run(
            volume.vm.id,
            {
              what: kind,
              sentence: `The disk ${volume.name} is being ${words.busy}`,
              by: caller.name,
              jobId: context.jobId,
            },
            (note) => work(context, note),
          )
    const about = {
      caller,
      topic: 'volume',
      objectId: volume.id,
      objectName: volume.name,
      ownerId: volume.ownerId,
    } as const
    const job = jobs.start({
      kind,
      title: words.title,
      owner: { userId: caller.userId, name: caller.name },
      totalBytes: null,
      target: { type: 'volume', id: volume.id },
      queue: 'convert',
      async work(context) {
        try {
          // What it did not come to use is held until then, and nobody's afterwards.
          const result = await guarded(context).finally(() => volumes.collect())
          journal.write({ ...about, what: kind, result: 'ok', text: `${caller.name} ${words.done}.` })
          return result
        } catch (error) {
          const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
          journal.write({ ...about, what: kind, result: 'failed', text: `${volume.name}: ${why}` })
          throw error
        } finally {
          done()
        }
      },
    })
    // Cancelled before its turn, the work above never begins.
    job.finished.catch(() => {}).finally(done)
    return job.view()
  }

  /** Another file in the place of the head. */
  const replaceHead = async (volume: VolumeDocument, file: NewFile, context: JobContext): Promise<string> => {
    await fillNew(volume, file, context, layerOf(volume).uid, (layer) => {
      volumes.change(volume.id, { head: layer.id })
    })
    return volume.id
  }

  const moveLive = async (
    volume: VolumeDocument,
    poolId: string,
    limitMiBps: number | null,
    context: JobContext,
    note: (about: BusyDocument['about']) => void,
  ): Promise<string> => {
    assertMovable(volume)
    const { vm } = volume
    if (vm === null) throw new EngineError('conflict', 'This disk was taken out of its VM meanwhile.')
    const room = await reserve(volume, poolId, false)
    try {
      const onProgress = (done: number, total: number) => {
        context.progress(done, total)
        room.reached(Math.min(done, room.bytes))
      }
      await mover.run({ volume: { ...volume, vm }, poolId, limitMiBps, note, onProgress }, context)
    } finally {
      room.release()
    }
    return volume.id
  }

  const setFree = async (volume: VolumeDocument): Promise<void> => {
    volumes.change(volume.id, { vm: null })
    await volumes.handOver(volume.id, null).catch((error: unknown) => {
      deps.warn(`The files of the disk ${volume.name} could not be taken back from its guest's user.`, error)
    })
  }

  const growFile = async (volume: VolumeDocument, sizeBytes: number): Promise<void> => {
    const layer = layerOf(volume)
    await health.assertUsable(layer.poolId, 'write')
    const file = { path: volumes.pathOf(layer), format: layer.format }
    const user = toolUser(layer.uid)
    // It may have grown before a crash; qemu-img refuses to make it smaller.
    const present = (await qemuImg.info(file.path, file.format, { user })).virtualSizeBytes
    if (present < sizeBytes) await qemuImg.grow(file, sizeBytes, { user })
    volumes.changeLayer(layer.id, { sizeBytes: Math.max(present, sizeBytes) })
    volumes.change(volume.id, { sizeBytes: Math.max(present, sizeBytes) })
  }

  return {
    assertNameFree,
    assertPoolForDisks,
    assertGrowth(volume, sizeBytes, field) {
      if (sizeBytes < volume.sizeBytes)
        throw new EngineError(
          'conflict',
          `A disk cannot become smaller: what the guest keeps at its end would be cut off. It has ${bytesInWords(volume.sizeBytes)}. Add a smaller disk, copy the files inside the guest, and remove this one.`,
          { field },
        )
      if (sizeBytes > volume.sizeBytes) {
        const held = volumes.heldBy(volume.head)
        if (held.length > 0)
          throw new EngineError(
            'conflict',
            `The disk cannot grow while ${held[0]} is kept in its file. Delete it first.`,
            { field },
          )
      }
    },
    assertAttachable(volume, ownerId, caller) {
      if (volume.vm !== null)
        throw new EngineError('in_use', 'This disk belongs to another VM already.', { field: 'vmId' })
      if (volume.trashedAt !== null)
        throw new EngineError('conflict', 'This disk is in the trash; restore it first.', { field: 'vmId' })
      const busy = locks.of(volume.id)
      if (busy !== null) throw new EngineError('in_use', `This disk is being ${busy}; wait for it or cancel it.`)
      if (volumes.isFrozen(volume.head))
        throw new EngineError(
          'in_use',
          `Other disks stand on this one (${volumes.needs(volume.head)[0]}), so it must not be written.`,
        )
      if (volume.ownerId !== ownerId && caller.role !== 'admin')
        throw new EngineError('conflict', 'This disk and this VM belong to different people.')
    },
    growFile,
    async growOffline(volume, sizeBytes) {
      if (sizeBytes === volume.sizeBytes) return
      assertIdle(volume, 'made larger')
      await growFile(volume, sizeBytes)
    },
    async copy(caller, volume, input) {
      const poolId = input.poolId ?? volume.poolId
      assertPoolForDisks(poolId)
      assertNameFree(caller.userId, input.name, null)
      assertIdle(volume, 'copied')
      await assertReadable(volume)
      await health.assertUsable(poolId, 'write')
      const format = input.format ?? layerOf(volume).format
      const words = {
        title: input.name,
        busy: 'copied',
        done: `copied the disk ${volume.name} to ${input.name}`,
      }
      return start(caller, volume, 'volume-copy', words, async (context) => {
        assertNameFree(caller.userId, input.name, null)
        assertIdle(volume, 'copied')
        let id = ''
        await fillNew(volume, { poolId, format, keepBase: false }, context, null, (layer) => {
          id = volumes.adopt({ name: input.name, ownerId: caller.userId, sizeBytes: volume.sizeBytes, layer })
        })
        return id
      })
    },
    async convert(caller, volume, format) {
      const head = layerOf(volume)
      if (head.format === format)
        throw new EngineError('conflict', `This disk is ${format} already.`, { field: 'format' })
      assertIdle(volume, 'converted')
      assertNoSnapshots(volume, 'converted')
      await assertReadable(volume)
      const words = {
        title: volume.name,
        busy: 'converted',
        done: `converted the disk ${volume.name} to ${format}`,
      }
      return start(caller, volume, 'volume-convert', words, (context) => {
        assertIdle(volume, 'converted')
        return replaceHead(volume, { poolId: volume.poolId, format, keepBase: false }, context)
      })
    },
    async compact(caller, volume) {
      assertIdle(volume, 'compacted')
      assertNoSnapshots(volume, 'compacted')
      await assertReadable(volume)
      const words = { title: volume.name, busy: 'compacted', done: `compacted the disk ${volume.name}` }
      return start(caller, volume, 'volume-compact', words, (context) => {
        assertIdle(volume, 'compacted')
        const { format, parent } = layerOf(volume)
        return replaceHead(volume, { poolId: volume.poolId, format, keepBase: parent !== null }, context)
      })
    },
    async move(caller, volume, { poolId, limitMiBps }) {
      assertPoolForDisks(poolId)
      const target = pools.require(poolId)
      if (poolId === volume.poolId)
        throw new EngineError('conflict', `This disk lies in ${target.name} already.`, { field: 'poolId' })
      // Snapshots of a kind that lies below the disk stay where they are, whole.
      assertNobodyAbove(volume, 'moved')
      assertMovable(volume)
      await assertReadable(volume)
      await health.assertUsable(poolId, 'write')
      const words = {
        title: volume.name,
        busy: 'moved',
        done: `moved the disk ${volume.name} to ${target.name}`,
      }
      return start(caller, volume, MOVE_WORK, words, async (context, note) => {
        // It may have waited for its turn.
        const now = volumes.get(volume.id)
        if (now === null) throw new EngineError('not_found', 'There is no such disk any more.')
        assertNobodyAbove(now, 'moved')
        if (!isRunning(now)) {
          const { format } = layerOf(now)
          const file = { poolId, format, keepBase: false, keepBitmaps: true, limitMiBps }
          return replaceHead(now, file, context)
        }
        return await moveLive(now, poolId, limitMiBps, context, note)
      })
    },
    async trash(volume, vmName) {
      if (deps.trashDays === 0) {
        await volumes.remove(volume.id)
        return
      }
      volumes.change(volume.id, { vm: null, trashedAt: now().toISOString(), trashedFrom: vmName })
      await volumes.handOver(volume.id, null).catch((error: unknown) => {
        deps.warn(`The files of the disk ${volume.name} could not be taken back from its guest's user.`, error)
      })
    },
    setFree,
    async purge() {
      const before = now().getTime() - deps.trashDays * DAY_MS
      for (const volume of volumes.all()) {
        if (volume.trashedAt === null || Date.parse(volume.trashedAt) > before) continue
        if (locks.of(volume.id) !== null || volumes.needs(volume.head).length > 0) continue
        try {
          await health.assertUsable(volume.poolId, 'write')
          await volumes.remove(volume.id)
          journal.write({
            ...{ what: 'volumePurge', result: 'info', caller: null, topic: 'volume', ownerId: volume.ownerId },
            ...{ objectId: volume.id, objectName: volume.name },
            text: `The disk ${volume.name} was in the trash for ${deps.trashDays} days and has been removed.`,
          })
        } catch (error) {
          deps.warn(`The disk ${volume.name} could not be removed from the trash yet.`, error)
        }
      }
    },
  }
}
