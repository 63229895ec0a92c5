/**
 * Removing a backup, and taking one out from under those that stand on it.
 *
 * A folder is renamed to `.gone` first: from then on it is no backup, and a crash leaves nothing half there.
 *
 * Merging: what a child lacks is copied from its parent into a copy of the child's file, which then stands where the
 * parent stood. The new files and the new manifest lie beside the old ones as `….new`; `switch.json` says that all of
 * them are whole, and from then on they are put in place, by whoever comes next if need be. At each point the folder
 * is the old child or the new one.
 */
import { constants, existsSync } from 'node:fs'
import { copyFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import * as z from 'zod'
import { BackupId } from '#lib/schema/backup.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { readPlainFile } from '#server/platform/fs.ts'
import { syncDir } from '#server/storage/dirs.ts'
import { finishJobs, tell } from './block-jobs.ts'
import { targetNode, withBlockTool } from './block-tool.ts'
import { directories, type StoredBackup } from './catalog.ts'
import { hashFile, inspectDisk, settleFile, writeNew } from './files.ts'
import { backupsDir, GONE, readmeText } from './layout.ts'
import { FILES, Manifest, type ManifestDisk } from './manifest.ts'

/** @throws Error EACCES … */
export async function removeBackup(backup: StoredBackup): Promise<void> {
  const gone = `${backup.dir}${GONE}`
  await rename(backup.dir, gone)
  await syncDir(dirname(backup.dir))
  await rm(gone, { recursive: true, force: true })
}

/** Ends what a crash interrupted below a pool: removals and merges. */
export async function sweepBackups(poolRoot: string): Promise<void> {
  const root = backupsDir(poolRoot)
  for (const vm of await directories(root))
    for (const name of await directories(join(root, vm))) {
      const dir = join(root, vm, name)
      if (BackupId.safeParse(name).success) await finishSwitch(dir)
      else if (name.endsWith(GONE) && BackupId.safeParse(name.slice(0, -GONE.length)).success)
        await rm(dir, { recursive: true, force: true })
    }
}

const SWITCH = 'switch.json'
const FRESH = '.new'
const Switch = z.strictObject({
  version: z.literal(1),
  files: z.array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/)).max(66),
})

/** Ends a merge that a crash interrupted. Harmless when there was none. */
export async function finishSwitch(dir: string): Promise<void> {
  const text = await readPlainFile(join(dir, SWITCH), 64 * 1024).catch(() => null)
  if (text === null) return
  let files: readonly string[]
  try {
    files = Switch.parse(JSON.parse(text.toString('utf8'))).files
  } catch {
    return
  }
  for (const file of files)
    if (existsSync(join(dir, file + FRESH))) await rename(join(dir, file + FRESH), join(dir, file))
  await syncDir(dir)
  await rm(join(dir, SWITCH), { force: true })
  await syncDir(dir)
}

/**
 * Lets `child` stand on what `parent` stands on. `parent` is not touched.
 * @throws EngineError no_space, image_refused; the signal's reason. The child is unchanged then.
 */
export async function mergeInto(
  options: { binary: string; renameBacking(path: string, below: string | null): Promise<void> },
  child: StoredBackup,
  parent: StoredBackup,
  context: Pick<JobContext, 'signal' | 'progress' | 'step'>,
): Promise<Manifest> {
  const { dir } = child
  context.step(`Merging into the backup of ${child.manifest.createdAt.slice(0, 16).replace('T', ' ')}`)
  await using undo = new AsyncDisposableStack()
  const disks: ManifestDisk[] = []
  const files: string[] = []
  for (const disk of child.manifest.disks) {
    const below = parent.manifest.disks.find(({ device }) => device === disk.device)
    if (disk.kind === 'full') {
      disks.push(disk)
      continue
    }
    if (below === undefined) throw new EngineError('image_refused', `The parent has no disk “${disk.device}”.`)
    await inspectDisk(join(dir, disk.file), disk.virtualSizeBytes, disk.file)
    await inspectDisk(join(parent.dir, below.file), below.virtualSizeBytes, below.file)
    const fresh = join(dir, disk.file + FRESH)
    await rm(fresh, { force: true })
    undo.defer(() => rm(fresh, { force: true }))
    await copyFile(join(dir, disk.file), fresh, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    await pullDown(options.binary, fresh, join(parent.dir, below.file), context)
    const isFull = below.kind === 'full'
    await options.renameBacking(fresh, isFull ? null : `../${parent.manifest.parent}/${below.file}`)
    await settleFile(fresh)
    const hashed = await hashFile(fresh, context.signal)
    files.push(disk.file)
    disks.push({
      ...disk,
      ...hashed,
      kind: below.kind,
      changedBytes: isFull ? null : (disk.changedBytes ?? 0) + (below.changedBytes ?? 0),
    })
  }
  const isFull = disks.every(({ kind }) => kind === 'full')
  const manifest = Manifest.parse({
    ...child.manifest,
    kind: isFull ? 'full' : 'incremental',
    parent: isFull ? null : parent.manifest.parent,
    disks,
  })
  for (const [file, text] of [
    [FILES.manifest, `${JSON.stringify(manifest, null, 2)}\n`],
    [FILES.readme, readmeText(manifest)],
  ] as const) {
    await rm(join(dir, file + FRESH), { force: true })
    undo.defer(() => rm(join(dir, file + FRESH), { force: true }))
    await writeNew(join(dir, file + FRESH), text)
    files.push(file)
  }
  context.signal.throwIfAborted()
  await rm(join(dir, SWITCH), { force: true })
  await writeNew(join(dir, SWITCH), JSON.stringify({ version: 1, files }))
  await syncDir(dir)
  undo.move()
  await finishSwitch(dir)
  return manifest
}

/** Copies into `top` what it lacks of `below`, one file; further files below are not looked at. */
async function pullDown(
  binary: string,
  top: string,
  below: string,
  { signal, progress }: Pick<JobContext, 'signal' | 'progress'>,
): Promise<void> {
  const what = 'The merge'
  const confinement = { kind: 'jailed' as const, readable: [below], writable: [top] }
  await withBlockTool({ binary, confinement, signal }, async (qmp) => {
    const base = targetNode('below', below)
    await tell(qmp, what, 'blockdev-add', {
      ...targetNode('top', top),
      backing: { ...base, 'read-only': true, file: { driver: 'file', filename: below, 'read-only': true } },
    })
    await tell(qmp, what, 'block-stream', { 'job-id': 'merge', device: 'top', 'auto-dismiss': false })
    await finishJobs(qmp, ['merge'], { what, signal, onProgress: (p) => progress(p.doneBytes, p.totalBytes) })
  })
}
