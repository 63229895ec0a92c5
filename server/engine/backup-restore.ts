/**
 * Restoring: as a new VM, or in place of what a VM has. The new disks are made beside the old ones; they take their place
 * in one transaction of the store, which is the moment before which everything is as it was and after which everything is
 * new. What lies in files of its own (UEFI variables, TPM) is staged before it and put in place after it, by the next
 * start of the dashboard if need be.
 */
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import type { VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import { ceilGiB, GIB } from '#lib/units.ts'
import type { Catalog, StoredBackup } from '#server/backup/catalog.ts'
import { hashFile, inspectNvram, writeNew } from '#server/backup/files.ts'
import { copyOut, diskFilesOf } from '#server/backup/read.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestDir, guestFile } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { readPlainFile } from '#server/platform/fs.ts'
import { syncDir } from '#server/storage/dirs.ts'
import { writeNvramOrigin } from '#server/storage/nvram.ts'
import type { Pools } from '#server/storage/pools.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface RestoreDeps {
  readonly data: DataPaths
  readonly binary: string
  readonly store: Store
  readonly catalog: Catalog
  readonly pools: Pools
  readonly volumes: Volumes
  readonly qemuImg: QemuImg
  readonly records: VmRecords
  readonly busy: VmBusy
  readonly isImage: (id: string) => boolean
  /** Counts a definition in place of the one there is until it is released. @throws EngineError quota_exceeded */
  readonly becomes: (record: VmRecord, spec: VmSpec) => () => void
  /** Takes back a VM that was made to be restored into. */
  readonly deleteVm: (vmId: string) => Promise<void>
  readonly onRestored: (record: VmRecord) => void
  readonly warn: (message: string, error?: unknown) => void
}

const TPM_FILE_MAX_BYTES = 4 * 2 ** 20
const IN_PLACE = 'backup-restore'
const AS_NEW = 'backup-restore-new'
const About = z.object({ switched: z.boolean() })

const requestOf = (what: string, by: string) => ({
  what,
  sentence: 'A backup is being restored',
  by,
  about: { switched: false },
})

export interface Restorer {
  /**
   * The definition a restored VM gets: of its own name and addresses, without what is not there.
   * @throws EngineError image_refused when the backup has no definition that can be read
   */
  inputOf(backup: StoredBackup, name: string): VmSpecInput
  /** The chain, when it can be restored. @throws EngineError not_found, image_refused */
  chainOf(backup: StoredBackup): readonly StoredBackup[]
  /** For the transaction that stores a VM made to be restored into: whatever happens to us, it does not stay blank. */
  announce(vmId: string, by: string): void
  /** @param as `new`: the VM was made for this a moment ago, and goes when it fails */
  run(record: VmRecord, backup: StoredBackup, as: 'new' | 'in-place', by: string, context: JobContext): Promise<string>
}

export function createRestorer(deps: RestoreDeps): Restorer {
  const { data, store, catalog, volumes, records, busy } = deps

  const stagedNvram = (vmId: string) => `${data.nvram(vmId)}.restored`
  const tpmDir = (vmId: string) => join(data.vmDir(vmId), 'tpm')
  const stagedTpm = (vmId: string) => `${tpmDir(vmId)}.restored`
  const oldTpm = (vmId: string) => `${tpmDir(vmId)}.old`

  /** Each step may have been done before. */
  const putInPlace = async (vmId: string): Promise<void> => {
    if (existsSync(stagedNvram(vmId))) await rename(stagedNvram(vmId), data.nvram(vmId))
    if (existsSync(stagedTpm(vmId))) {
      if (existsSync(tpmDir(vmId))) {
        await rm(oldTpm(vmId), { recursive: true, force: true })
        await rename(tpmDir(vmId), oldTpm(vmId))
      }
      await rename(stagedTpm(vmId), tpmDir(vmId))
    }
    await syncDir(data.vmDir(vmId))
    await rm(oldTpm(vmId), { recursive: true, force: true })
  }
  const dropStaged = async (vmId: string): Promise<void> => {
    await rm(stagedNvram(vmId), { force: true })
    await rm(stagedTpm(vmId), { recursive: true, force: true })
  }

  busy.onRecovery(IN_PLACE, async (vmId, left) => {
    if (About.safeParse(left.about).data?.switched === true) await putInPlace(vmId)
    else await dropStaged(vmId)
  })
  busy.onRecovery(AS_NEW, (vmId) => deps.deleteVm(vmId))

  const specOf = (backup: StoredBackup): VmSpec => {
    const parsed = StoredVmSpec.safeParse(backup.manifest.spec)
    if (!parsed.success)
      throw new EngineError(
        'image_refused',
        'The definition in this backup cannot be read, so no VM can be made of it.',
      )
    return parsed.data
  }

  const stage = async (record: VmRecord, backup: StoredBackup, signal: AbortSignal): Promise<void> => {
    const { manifest, dir } = backup
    const { id, uid, spec } = record
    const own = (path: string) => rootActs().own({ path, as: guestFile(uid), sync: true })
    await dropStaged(id)
    if (manifest.nvram !== null && spec.firmware === 'uefi') {
      const path = join(dir, manifest.nvram.file)
      await inspectNvram(path, manifest.nvram.file)
      await matches(path, manifest.nvram, signal)
      await deps.qemuImg.convertToQcow2(path, 'qcow2', stagedNvram(id), { signal })
      await own(stagedNvram(id))
      await writeNvramOrigin(data, id, { secureBoot: manifest.nvram.secureBoot })
    }
    if (manifest.tpm.length > 0 && spec.tpm !== 'none') {
      await mkdir(stagedTpm(id), { mode: 0o700 })
      for (const file of manifest.tpm) {
        const path = join(dir, file.file)
        await matches(path, file, signal)
        const target = join(stagedTpm(id), file.name)
        await writeNew(target, await readPlainFile(path, TPM_FILE_MAX_BYTES))
        await own(target)
      }
      await rootActs().own({ path: stagedTpm(id), as: guestDir(uid), sync: false })
      await syncDir(stagedTpm(id))
    }
    await syncDir(data.vmDir(id))
  }

  const restore = async (
    record: VmRecord,
    backup: StoredBackup,
    note: (about: z.output<typeof About>) => void,
    context: JobContext,
  ): Promise<void> => {
    const { signal } = context
    const chain = restorer.chainOf(backup)
    context.step('Looking at the files')
    const disks = await diskFilesOf(chain)
    const wanted = disks.map((disk) => {
      const volume = volumes.find(record.id, disk.device)
      if (volume === null)
        throw new EngineError(
          'conflict',
          `The VM has no disk “${disk.device}” any more, which the backup has. Restore it as a new VM, or add the disk.`,
        )
      return { ...disk, volume }
    })
    await using undo = new AsyncDisposableStack()
    const counted = deps.becomes(record, withSizes(record.spec, wanted))
    undo.defer(async () => counted())
    for (const { volume, virtualSizeBytes } of wanted) {
      // Room for the worst case: a file that came from elsewhere may unpack to all it says.
      const reservation = await deps.pools
        .space(volume.poolId)
        .reserve(Math.min(virtualSizeBytes, stored(chain)), 'The restored disk')
      undo.defer(async () => reservation.release())
    }
    const made: { layerId: string; path: string }[] = []
    for (const { volume, virtualSizeBytes } of wanted) {
      const layer = volumes.announceLayer({
        poolId: volume.poolId,
        format: 'qcow2',
        sizeBytes: virtualSizeBytes,
        parent: null,
        uid: record.uid,
      })
      undo.defer(async () => {
        if (volumes.volumeOfHead(layer.id) === null) await volumes.dropLayer(layer.id)
      })
      made.push({ layerId: layer.id, path: volumes.pathOf(layer) })
      await deps.qemuImg.createBlank(volumes.pathOf(layer), virtualSizeBytes, { signal })
    }
    context.step('Copying the disks')
    await copyOut(
      wanted.map(({ files }, index) => ({ files, target: made[index]?.path ?? '' })),
      { binary: deps.binary, what: 'The restore', signal, onProgress: context.progress },
    )
    context.step('Putting the disks in place')
    const release = made.map(({ layerId }) => volumes.pin(layerId))
    try {
      for (const { layerId } of made) await volumes.finishLayer(layerId)
      await stage(record, backup, signal)
      context.settle()
      const present = records.get(record.id)
      if (present === null) throw new EngineError('not_found', 'The VM was deleted meanwhile.')
      const spec = withSizes(present.spec, wanted)
      store.transaction(() => {
        for (const [index, { volume, virtualSizeBytes }] of wanted.entries())
          volumes.change(volume.id, { head: made[index]?.layerId ?? '', sizeBytes: virtualSizeBytes })
        // Its guest goes back in time.
        records.renewGeneration(record.id)
        if (spec !== present.spec) records.replace(present, spec, new Date().toISOString(), present.revision)
        note({ switched: true })
      })
    } finally {
      for (const one of release) one()
    }
    await putInPlace(record.id)
    deps.onRestored(records.get(record.id) ?? record)
    await volumes.collect()
  }

  const restorer: Restorer = {
    chainOf(backup) {
      const problem = catalog.problemOf(backup)
      if (problem !== null) throw new EngineError('image_refused', `This backup cannot be restored. ${problem}`)
      const found = catalog.chain(backup.id)
      if (!found.ok) throw new EngineError('image_refused', found.reason)
      return found.chain
    },
    inputOf(backup, name) {
      const spec = specOf(backup)
      const inBackup = new Map(backup.manifest.disks.map((disk) => [disk.device, disk]))
      const disks: NonNullable<VmSpecInput['disks']> = []
      for (const drive of spec.disks) {
        if (drive.device === 'cdrom') {
          const { seed: _, ...rest } = drive
          disks.push({ ...rest, image: drive.image !== null && deps.isImage(drive.image) ? drive.image : null })
          continue
        }
        const disk = inBackup.get(drive.id)
        // What is not in the backup cannot come back.
        if (disk !== undefined) disks.push({ ...drive, image: null, sizeGiB: ceilGiB(disk.virtualSizeBytes) })
      }
      return {
        ...spec,
        name,
        autostart: false,
        disks,
        networks: spec.networks.map(({ mac: _, forwards: __, ...card }) => ({ ...card, forwards: [] })),
      }
    },
    announce: (vmId, by) => busy.announce(vmId, requestOf(AS_NEW, by)),
    async run(record, backup, as, by, context) {
      try {
        await busy.run(
          record.id,
          { ...requestOf(as === 'new' ? AS_NEW : IN_PLACE, by), jobId: context.jobId },
          async (note) => {
            try {
              await restore(record, backup, note, context)
            } catch (error) {
              await dropStaged(record.id)
              throw error
            }
          },
        )
      } catch (error) {
        if (as === 'new')
          await deps.deleteVm(record.id).catch((cause: unknown) => deps.warn(`${record.id} was not taken back.`, cause))
        throw error
      }
      return record.id
    },
  }
  return restorer
}

/** Bytes the chain's own files have: what a restored disk takes at most, unless it was compressed. */
const stored = (chain: readonly StoredBackup[]) =>
  chain.reduce((sum, { manifest }) => sum + manifest.disks.reduce((s, disk) => s + disk.sizeBytes, 0), 0) * 4

/** @throws EngineError checksum_mismatch */
async function matches(path: string, file: { file: string; sha256: string }, signal: AbortSignal): Promise<void> {
  if ((await hashFile(path, signal)).sha256 !== file.sha256)
    throw new EngineError('checksum_mismatch', `The file ${file.file} of the backup is not what was written.`)
}

function withSizes(spec: VmSpec, disks: readonly { device: string; virtualSizeBytes: number }[]): VmSpec {
  const sizes = new Map(disks.map((disk) => [disk.device, disk.virtualSizeBytes]))
  const isSame = spec.disks.every(
    (drive) =>
      drive.device !== 'disk' ||
      !sizes.has(drive.id) ||
      drive.sizeGiB * GIB === sizes.get(drive.id) ||
      drive.sizeGiB === ceilGiB(sizes.get(drive.id) ?? 0),
  )
  if (isSame) return spec
  return {
    ...spec,
    disks: spec.disks.map((drive) =>
      drive.device === 'disk' && sizes.has(drive.id)
        ? { ...drive, sizeGiB: ceilGiB(sizes.get(drive.id) ?? GIB) }
        : drive,
    ),
  }
}
