/**
 * The moment of a VM that clones are made of: what is kept of it and for how long, and who may do nothing to the VM
 * meanwhile.
 *
 *   a snapshot            its layers, or what its files hold under its tag
 *   off, linked           the disks' files freeze, and the VM gets new ones over them
 *   off, full; template   the files as they are, which nobody writes meanwhile
 *   running               as of one moment (`server/clones/live.ts`)
 */
import { ownDisks } from '#lib/clones/rules.ts'
import type { CloneInput } from '#lib/schema/clone.ts'
import type { SnapshotKind } from '#lib/schema/snapshot.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { type Base, type CloneContext, dropLayers } from '#server/clones/context.ts'
import { readTpm } from '#server/clones/fill.ts'
import { basesOf, type DiskOf, freezeHeads, shareLayers } from '#server/clones/freeze.ts'
import type { Lineage } from '#server/clones/lineage.ts'
import { copyLive, freezeLive } from '#server/clones/live.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { toolUser } from '#server/storage/tool-user.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { EngineError } from './errors.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Caller } from './types.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord } from './vm-records.ts'

/** A snapshot as a clone needs it. */
export interface SnapshotBase {
  readonly name: string
  readonly kind: SnapshotKind
  readonly spec: VmSpec
  readonly disks: readonly { readonly device: string; readonly layerId: string; readonly sizeBytes: number }[]
  /** Inside the files of the disks and of the variables; null: the layers themselves. */
  readonly tag: string | null
  readonly nvram: string | null
  readonly tpm: string | null
}

export interface SnapshotSource {
  /** Kind of the snapshots a VM has; null: none. */
  kindOf(vmId: string): SnapshotKind | null
  /** @throws EngineError not_found, wrong_state when it is not complete */
  baseOf(vmId: string, snapshotId: string): SnapshotBase
}

export interface MomentDeps {
  readonly context: CloneContext
  readonly lineage: Lineage
  readonly supervisor: Supervisor
  readonly locks: KeyedLock
  readonly busy: VmBusy
}

export interface CloneMoments {
  isOff(vmId: string): boolean
  /** @throws EngineError wrong_state */
  assertOff(vmId: string): void
  /** @throws EngineError volume_missing */
  disksOf(vmId: string, spec: VmSpec): DiskOf[]
  /** Keeps the moment, makes clones of it with `make`, lets go. @throws EngineError; whatever `make` throws */
  withBase(
    record: VmRecord,
    input: CloneInput,
    from: SnapshotBase | null,
    job: JobContext,
    caller: Caller,
    make: (base: Base) => Promise<void>,
  ): Promise<void>
}

export function createCloneMoments({ context, lineage, supervisor, locks, busy }: MomentDeps): CloneMoments {
  const { volumes, data } = context
  const isOff = (id: string): boolean => ['off', 'crashed'].includes(supervisor.runtime(id).state)
  const assertOff = (id: string): void => {
    if (!isOff(id)) throw new EngineError('wrong_state', 'The guest was started meanwhile; try again.')
  }
  const disksOf = (vmId: string, spec: VmSpec): DiskOf[] =>
    ownDisks(spec).map((disk) => {
      const volume = volumes.find(vmId, disk.id)
      if (volume === null)
        throw new EngineError(
          'volume_missing',
          `The files of the disk “${disk.id}” are not known; it cannot be cloned.`,
        )
      return { device: disk.id, volume }
    })

  /** Directory of what the TPM knows; null: it is not taken over. */
  const tpmOf = (record: VmRecord, spec: VmSpec, input: CloneInput): string | null =>
    spec.tpm !== 'none' && input.tpm === 'copy' ? data.tpmDir(record.id) : null
  const sideOf = async (record: VmRecord, spec: VmSpec, input: CloneInput) => {
    const tpm = tpmOf(record, spec, input)
    return {
      nvram: spec.firmware === 'uefi' ? data.nvram(record.id) : null,
      tpm: tpm === null ? null : await readTpm(tpm),
      user: toolUser(context, record.uid),
    }
  }

  const withBase = async (
    record: VmRecord,
    input: CloneInput,
    from: SnapshotBase | null,
    job: JobContext,
    caller: Caller,
    make: (base: Base) => Promise<void>,
  ): Promise<void> => {
    const { id } = record
    using pins = new DisposableStack()
    const pinned = async (base: Base) => {
      for (const { layerId } of base.disks) pins.defer(volumes.pin(layerId))
      if (input.kind === 'linked')
        await shareLayers(
          context,
          base.disks.map(({ layerId }) => layerId),
          !isOff(id),
        )
      await make(base)
    }
    const held = { what: 'clone', by: caller.name, jobId: job.jobId }

    if (from !== null) {
      const disks = from.disks.map(({ device, layerId, sizeBytes }) => {
        const layer = volumes.layer(layerId)
        if (layer === null) throw new EngineError('volume_missing', `The files of “${device}” have gone.`)
        return { device, layerId, poolId: layer.poolId, sizeBytes }
      })
      const base = {
        ...{ spec: from.spec, disks, tag: from.tag, isForOne: false },
        ...{ user: toolUser(context, record.uid), nvram: from.nvram },
        tpm: input.tpm === 'copy' && from.tpm !== null ? await readTpm(from.tpm) : null,
      }
      // Neither may it be deleted, nor be merged with others, before the clones stand on it.
      const sentence = 'A snapshot of it is being cloned'
      const blocks = from.tag === null ? (['change', 'delete', 'revert'] as const) : undefined
      await busy.run(id, { ...held, sentence, isAtomic: true, ...(blocks && { blocks }) }, () => pinned(base))
      return
    }
    if (!isOff(id)) {
      await whileLive(record, input, job, held, pinned)
      return
    }
    const whole = async () => ({
      ...{ spec: record.spec, tag: null, isForOne: false },
      ...(await sideOf(record, record.spec, input)),
    })
    if (lineage.isTemplate(id)) {
      // No file of it is written, so nobody need wait.
      const disks = disksOf(id, record.spec)
      await pinned({ ...(await whole()), disks: basesOf(context, disks) })
      return
    }
    const sentence = 'It is being cloned'
    if (input.kind === 'full') {
      await busy.run(id, { ...held, sentence, isAtomic: true }, async () => {
        assertOff(id)
        await pinned({ ...(await whole()), disks: basesOf(context, disksOf(id, record.spec)) })
      })
      return
    }
    // Variables and TPM are read until the last clone is made; then the source may start again.
    await busy.run(id, { ...held, sentence, isAtomic: true }, async () => {
      const disks = await locks.run(id, async () => {
        assertOff(id)
        return freezeHeads(context, record.uid, disksOf(id, record.spec))
      })
      await pinned({ ...(await whole()), disks })
    })
  }
  /** Of a guest that runs: its disks as of one moment, whatever it writes meanwhile. */
  const whileLive = async (
    record: VmRecord,
    input: CloneInput,
    job: JobContext,
    held: { what: string; by: string; jobId: string },
    make: (base: Base) => Promise<void>,
  ): Promise<void> => {
    const { id, uid } = record
    const ids = (spec: VmSpec) =>
      ownDisks(spec)
        .map((disk) => disk.id)
        .join()
    await busy.run(id, { ...held, sentence: 'It is being cloned' }, async (note) => {
      const running = supervisor.runtime(id).launchedSpec
      if (running === null) throw new EngineError('wrong_state', 'What this guest runs is not known; try again.')
      // A disk that is to come with the next start is not there yet, one that is to go still is.
      const spec = ids(running) === ids(record.spec) ? record.spec : running
      const source = { id, uid, spec: running, disks: disksOf(id, running) }
      const progress = {
        signal: job.signal,
        step: job.step,
        progress: (done: number, total: number) => job.progress(done, total),
        note,
      }
      const take = input.kind === 'linked' ? freezeLive : copyLive
      const moment = await supervisor.work(id, (guest) =>
        take(context, guest, source, tpmOf(record, running, input), progress),
      )
      try {
        await make({
          ...{ spec, disks: moment.disks, tag: null, user: toolUser(context, uid) },
          nvram: moment.nvram === null ? null : volumes.pathOf(moment.nvram),
          tpm: moment.tpm,
          isForOne: input.kind === 'full' && input.count === 1,
        })
      } finally {
        await dropLayers(
          context,
          moment.made.filter((layer) => volumes.volumeOfHead(layer.id) === null),
        )
      }
    })
  }

  return { isOff, assertOff, disksOf, withBase }
}
