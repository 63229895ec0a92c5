/**
 * Making one backup.
 *
 *   .part folder ─▶ empty files ─▶ [freeze] one transaction: bitmap + copy of every disk [thaw] ─▶ copies end
 *   ─▶ checksums ─▶ manifest ─▶ folder renamed (now it is one) ─▶ older bitmaps go
 *
 * Each backup has a dirty bitmap of its own, `gd-<id>`, which begins in the same transaction as its copies and counts from
 * that moment on. A copy never clears the bitmap it is made by. So a backup that fails, is cancelled or is killed at any
 * point loses nothing: the bitmap of the last whole one is still there and has gone on counting.
 */
import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BackupOptions } from '#lib/schema/backup.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { guestFile, guestPassage } from '#server/launcher/shapes.ts'
import { errorCode, readPlainFile } from '#server/platform/fs.ts'
import type { QmpJson } from '#server/qmp/types.ts'
import { whileFrozen } from '#server/snapshots/freeze.ts'
import { syncDir } from '#server/storage/dirs.ts'
import { type BlockMonitor, finishJobs, tell } from './block-jobs.ts'
import { targetNode } from './block-tool.ts'
import type { StoredBackup } from './catalog.ts'
import { hashFile, settleFile, writeNew } from './files.ts'
import { backupDir, bitmapOf, diskFile, NVRAM_FILE, PART, readmeText, tpmFile, vmBackupsDir } from './layout.ts'
import { FILES, Manifest } from './manifest.ts'
import { type BackupPlan, type Candidate, planBackup, staleBitmaps } from './plan.ts'
import type { OpenPart, OpenSource } from './source.ts'

export interface MakeRequest {
  readonly id: string
  readonly vm: { readonly id: string; readonly ownerId: string; readonly spec: VmSpec }
  readonly poolRoot: string
  readonly options: BackupOptions
  readonly scheduleId: string | null
  readonly createdAt: string
  /** Earlier ones in the same pool that can be stood on, newest first. */
  readonly candidates: readonly Candidate[]
  /** Directory of the TPM's state; null: the VM has none. */
  readonly tpmDir: string | null
  readonly secureBoot: boolean
  readonly left: readonly string[]
}

export interface MakeDeps {
  /** Makes an empty qcow2 file. */
  createTarget(path: string, sizeBytes: number, compression: 'none' | 'zstd', backing: string | null): Promise<void>
  /** Room in the pool; released when the backup is over. */
  reserve(bytes: number): Promise<{ release(): void }>
  /** Remembers, so that it survives a crash, that the guest may be frozen from here on. */
  noteFrozen(frozen: boolean): void
  /** Whether a later backup may yet stand on this one by its bitmap. */
  isNeeded(backupId: string): boolean
  warn(message: string, error?: unknown): void
}

const TPM_FILE_MAX_BYTES = 4 * 2 ** 20
const nodeName = (id: string, index: number) => `gdbk${index}-${id.slice(-12)}`
const jobName = (id: string, index: number) => `gdbk-job${index}-${id.slice(-12)}`

/** Names of this backup's jobs and target nodes in the guest's QEMU: for the clearing up after a crash. */
export const isOurName = (id: string, name: string) => name.startsWith('gdbk') && name.endsWith(`-${id.slice(-12)}`)

/** @throws EngineError no_space, in_use, wrong_state …; the signal's reason. Nothing of it remains then. */
export async function makeBackup(
  deps: MakeDeps,
  source: OpenSource,
  request: MakeRequest,
  context: Pick<JobContext, 'signal' | 'progress' | 'step' | 'settle'>,
): Promise<{ manifest: Manifest; why: string | null }> {
  const { id, vm, poolRoot, options } = request
  const disks = source.parts.filter(({ device }) => device !== null)
  if (disks.length === 0) throw new EngineError('wrong_state', 'This VM has no disk that could be backed up.')
  const plan = planBackup(
    disks.map((part) => ({ device: part.device ?? '', node: part.node, canKeepBitmap: part.canKeepBitmap })),
    request.candidates,
    options,
  )
  const part = `${backupDir(poolRoot, vm.id, id)}${PART}`
  await using undo = new AsyncDisposableStack()
  const reservation = await deps.reserve(await estimate(source.parts, plan))
  undo.defer(async () => reservation.release())
  await makeFolder(poolRoot, vm.id, part, source)
  undo.defer(() => rm(part, { recursive: true, force: true }))

  context.step(plan.parent === null ? 'Copying the whole disks' : 'Copying what has changed')
  const { frozen, totals } = await copy(deps, source, request, plan, part, context)
  // The bitmap that was begun is of no use unless the backup becomes one.
  undo.defer(() => removeBitmaps(source, () => [bitmapOf(id)], deps.warn))

  context.step('Reading it back for its checksums')
  const manifest = await manifestOf(source, request, plan, part, { frozen, totals }, context.signal)
  await writeNew(join(part, FILES.readme), readmeText(manifest))
  await writeNew(join(part, FILES.manifest), `${JSON.stringify(manifest, null, 2)}\n`)
  await rootActs().own({ path: part, as: { kind: 'dashboard-dir' }, sync: false })
  await syncDir(part)
  context.settle()
  await rename(part, backupDir(poolRoot, vm.id, id))
  await syncDir(vmBackupsDir(poolRoot, vm.id))
  undo.move()
  reservation.release()
  await removeBitmaps(source, (node) => staleBitmaps(node, id, deps.isNeeded), deps.warn)
  return { manifest, why: plan.why }
}

async function estimate(parts: readonly OpenPart[], plan: BackupPlan): Promise<number> {
  let bytes = 2 ** 20
  for (const part of parts) {
    const changed = plan.disks.find(({ device }) => device === part.device)?.changedBytes ?? null
    if (changed !== null) bytes += changed
    else for (const { path } of part.chain) bytes += ((await stat(path).catch(() => null))?.blocks ?? 0) * 512
  }
  return bytes
}

/** The folder while it is written: the guest's user may pass through, and finds nothing but its own files there. */
async function makeFolder(poolRoot: string, vmId: string, part: string, source: OpenSource): Promise<void> {
  try {
    await mkdir(vmBackupsDir(poolRoot, vmId), { recursive: true, mode: 0o711 })
    if (source.writer !== null)
      for (const dir of [join(vmBackupsDir(poolRoot, vmId), '..'), vmBackupsDir(poolRoot, vmId)])
        await chmod(dir, 0o711)
    await mkdir(part, { mode: 0o700 })
    await rootActs().own({ path: part, as: guestPassage(source.writer?.uid ?? null), sync: false })
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new EngineError('no_space', 'The backup was not begun: the target has no space left.', { cause: error })
    throw new EngineError('pool_unavailable', 'The backup was not begun: no folder could be made in the target.', {
      cause: error,
    })
  }
}

const fileOf = (part: OpenPart) => (part.device === null ? NVRAM_FILE : diskFile(part.device))

async function copy(
  deps: MakeDeps,
  source: OpenSource,
  request: MakeRequest,
  plan: BackupPlan,
  dir: string,
  context: Pick<JobContext, 'signal' | 'progress'>,
): Promise<{ frozen: boolean; totals: Map<string, number> }> {
  const { id, options } = request
  const { monitor } = source
  const what = 'The backup'
  const actions: QmpJson[] = []
  await using undo = new AsyncDisposableStack()
  for (const [index, part] of source.parts.entries()) {
    const isDisk = part.device !== null
    const incremental = plan.disks.find(({ device }) => device === part.device)?.kind === 'incremental'
    const path = join(dir, fileOf(part))
    const compression = isDisk ? options.compression : 'none'
    const below = incremental ? `../${plan.parent}/${fileOf(part)}` : null
    await deps.createTarget(path, part.node.virtualSizeBytes, compression, below)
    await rootActs().own({ path, as: guestFile(source.writer?.uid ?? null), sync: false })
    const target = nodeName(id, index)
    await tell(monitor, what, 'blockdev-add', targetNode(target, path))
    undo.defer(async () => void (await monitor.execute('blockdev-del', { 'node-name': target }).catch(() => {})))
    if (part.canKeepBitmap) {
      actions.push({
        type: 'block-dirty-bitmap-add',
        data: { node: part.node.name, name: bitmapOf(id), persistent: true },
      })
    }
    actions.push({
      type: 'blockdev-backup',
      data: {
        'job-id': jobName(id, index),
        device: part.node.name,
        target,
        ...(incremental
          ? { sync: 'bitmap', bitmap: bitmapOf(plan.parent ?? ''), 'bitmap-mode': 'never' }
          : { sync: 'full' }),
        ...(compression === 'none' ? {} : { compress: true }),
        ...(options.limitMiBps === null ? {} : { speed: options.limitMiBps * 2 ** 20 }),
        'auto-dismiss': false,
      },
    })
  }
  const frozen = await heldStill(deps, source, options.freeze, async () => {
    context.signal.throwIfAborted()
    await tell(monitor, what, 'transaction', { actions })
  })
  const ids = source.parts.map((_, index) => jobName(id, index))
  try {
    const totals = await finishJobs(monitor, ids, {
      what,
      signal: context.signal,
      onProgress: ({ doneBytes, totalBytes }) => context.progress(doneBytes, totalBytes),
    })
    return {
      frozen,
      totals: new Map(source.parts.map((part, index) => [fileOf(part), totals.get(ids[index] ?? '') ?? 0])),
    }
  } catch (error) {
    await removeBitmaps(source, () => [bitmapOf(id)], deps.warn)
    throw error
  }
}

/** Should the dashboard die meanwhile, thawing is the first thing its next start does. */
async function heldStill(
  deps: MakeDeps,
  { agent }: OpenSource,
  wanted: boolean,
  work: () => Promise<void>,
): Promise<boolean> {
  if (!wanted || agent === null) {
    await work()
    return false
  }
  const mark = { set: () => deps.noteFrozen(true), clear: () => deps.noteFrozen(false) }
  const { outcome } = await whileFrozen(agent, mark, work)
  if (outcome.kind === 'not') deps.warn(`The backup was made without holding the file systems still. ${outcome.why}`)
  return outcome.kind === 'frozen'
}

/** Bitmaps that cannot be removed are removed after the next backup; they cost a little memory, no more. */
async function removeBitmaps(
  { monitor, parts }: { monitor: BlockMonitor; parts: readonly OpenPart[] },
  namesOf: (node: OpenPart['node']) => readonly string[],
  warn: MakeDeps['warn'],
): Promise<void> {
  for (const { node, canKeepBitmap } of parts) {
    if (!canKeepBitmap) continue
    for (const name of namesOf(node))
      await monitor
        .execute('block-dirty-bitmap-remove', { node: node.name, name })
        .catch((error: unknown) => warn(`The dirty bitmap ${name} could not be removed.`, error))
  }
}

async function manifestOf(
  source: OpenSource,
  request: MakeRequest,
  plan: BackupPlan,
  dir: string,
  { frozen, totals }: { frozen: boolean; totals: ReadonlyMap<string, number> },
  signal: AbortSignal,
): Promise<Manifest> {
  const stored = async (file: string) => {
    await settleFile(join(dir, file))
    return { file, ...(await hashFile(join(dir, file), signal)) }
  }
  const disks: Manifest['disks'] = []
  let nvram: Manifest['nvram'] = null
  for (const part of source.parts) {
    const file = await stored(fileOf(part))
    if (part.device === null) {
      nvram = { ...file, format: 'qcow2', secureBoot: request.secureBoot }
      continue
    }
    const kind = plan.disks.find(({ device }) => device === part.device)?.kind ?? 'full'
    disks.push({
      device: part.device,
      ...file,
      format: 'qcow2',
      virtualSizeBytes: part.node.virtualSizeBytes,
      kind,
      changedBytes: kind === 'full' ? null : (totals.get(file.file) ?? 0),
    })
  }
  const tpm: Manifest['tpm'] = []
  for (const name of request.tpmDir === null ? [] : await readdir(request.tpmDir).catch(() => [])) {
    if (name.startsWith('.') || !/^[A-Za-z0-9._-]{1,60}$/.test(name)) continue
    const content = await readPlainFile(join(request.tpmDir ?? '', name), TPM_FILE_MAX_BYTES).catch(() => null)
    if (content === null) continue
    await writeNew(join(dir, tpmFile(name)), content)
    tpm.push({ ...(await stored(tpmFile(name))), name })
  }
  return Manifest.parse({
    format: 'guestdeck-backup',
    version: 1,
    id: request.id,
    vm: { id: request.vm.id, name: request.vm.spec.name },
    ownerId: request.vm.ownerId,
    createdAt: request.createdAt,
    kind: plan.parent === null ? 'full' : 'incremental',
    parent: plan.parent,
    running: source.running,
    frozen,
    compression: request.options.compression,
    bitmap: bitmapOf(request.id),
    scheduleId: request.scheduleId,
    spec: request.vm.spec,
    disks,
    nvram,
    tpm,
    left: request.left,
  })
}

/** What candidates a pool's backups of a VM are. */
export function candidatesOf(
  backups: readonly StoredBackup[],
  chainLengthOf: (id: string) => number | null,
): Candidate[] {
  return backups.flatMap((backup) => {
    const chainLength = chainLengthOf(backup.id)
    return chainLength === null ? [] : [{ manifest: backup.manifest, chainLength }]
  })
}
