/**
 * Reading what a backup holds: the chain of each disk is spelled out file by file, each file is looked at first, and the
 * QEMU that reads them is locked in with nothing else in sight.
 */
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import { finishJobs, tell } from './block-jobs.ts'
import { chainNode, targetNode, withBlockTool } from './block-tool.ts'
import type { StoredBackup } from './catalog.ts'
import { diskChain } from './chain.ts'
import { inspectDisk } from './files.ts'

export interface DiskFiles {
  readonly device: string
  readonly virtualSizeBytes: number
  /** Top first, absolute. */
  readonly files: readonly { readonly path: string; readonly format: 'qcow2' }[]
}

/**
 * The files of every disk of a backup, looked at.
 * @param chain from the backup down to its full one
 * @throws EngineError image_refused
 */
export async function diskFilesOf(chain: readonly StoredBackup[]): Promise<DiskFiles[]> {
  const [top] = chain
  if (top === undefined) throw new EngineError('not_found', 'There is no such backup.')
  const found: DiskFiles[] = []
  for (const { device, virtualSizeBytes } of top.manifest.disks) {
    const links = diskChain(chain, device)
    if (!links.ok) throw new EngineError('image_refused', links.reason)
    const files = []
    for (const { member, disk } of links.chain) {
      const path = join(member.dir, disk.file)
      await inspectDisk(path, disk.virtualSizeBytes, disk.file)
      files.push({ path, format: 'qcow2' as const })
    }
    found.push({ device, virtualSizeBytes, files })
  }
  return found
}

export interface CopyTask {
  /** Top first. */
  readonly files: readonly { readonly path: string; readonly format: 'qcow2' | 'raw' }[]
  /** An empty qcow2 file of the same size, the dashboard's own. */
  readonly target: string
}

/** Copies what chains of files hold into files that stand alone. @throws EngineError no_space …; the signal's reason */
export async function copyOut(
  tasks: readonly CopyTask[],
  options: {
    binary: string
    what: string
    signal: AbortSignal
    onProgress(doneBytes: number, totalBytes: number): void
  },
): Promise<void> {
  const { what, signal } = options
  const confinement = {
    kind: 'jailed' as const,
    readable: tasks.flatMap(({ files }) => files.map(({ path }) => path)),
    writable: tasks.map(({ target }) => target),
  }
  await withBlockTool({ binary: options.binary, confinement, signal }, async (qmp) => {
    for (const [index, { files, target }] of tasks.entries()) {
      await tell(qmp, what, 'blockdev-add', chainNode(`from${index}`, files))
      await tell(qmp, what, 'blockdev-add', targetNode(`to${index}`, target))
    }
    await tell(qmp, what, 'transaction', {
      actions: tasks.map((_, index) => ({
        type: 'blockdev-backup',
        data: {
          'job-id': `copy${index}`,
          device: `from${index}`,
          target: `to${index}`,
          sync: 'full',
          'auto-dismiss': false,
        },
      })),
    })
    await finishJobs(
      qmp,
      tasks.map((_, index) => `copy${index}`),
      { what, signal, onProgress: ({ doneBytes, totalBytes }) => options.onProgress(doneBytes, totalBytes) },
    )
  })
}
