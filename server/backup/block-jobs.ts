/** Copy jobs of a QEMU, a guest's or the block tool's: begun together, watched, cancelled, put away. */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { QmpJson } from '#server/qmp/types.ts'

/** The one thing needed of a QEMU. */
export interface BlockMonitor {
  execute(command: string, args?: { [key: string]: QmpJson | undefined }): Promise<QmpJson>
}

const Jobs = z.array(
  z.object({
    id: z.string(),
    status: z.string(),
    'current-progress': z.coerce.number(),
    'total-progress': z.coerce.number(),
    error: z.string().optional(),
  }),
)
const POLL_MS = 250
/** A cancelled job ends at its next piece; a slow disk may take long for one. */
const CANCEL_MS = 60_000

export interface CopyProgress {
  readonly doneBytes: number
  readonly totalBytes: number
}

/** A failure of QEMU's block layer in words for people. */
export function blockError(what: string, desc: string, cause?: unknown): EngineError {
  const options = { cause: cause ?? new Error(desc) }
  if (/No space left|Disk quota exceeded|File too large/i.test(desc))
    return new EngineError(
      'no_space',
      `${what} stopped: the target has no space left. Make room and try again.`,
      options,
    )
  if (/Input\/output error/i.test(desc))
    return new EngineError(
      'internal',
      `${what} stopped: a disk could not be read or written (input/output error).`,
      options,
    )
  if (/lock/i.test(desc))
    return new EngineError('in_use', `${what} was refused: another program has a file open.`, options)
  return new EngineError('internal', `${what} failed; the server’s log has QEMU’s own message.`, options)
}

/**
 * Watches jobs until all have concluded, and puts them away. Cancels them when `signal` aborts, and waits for that.
 * @returns bytes each job had to copy
 * @throws EngineError with the first job's error; the signal's reason
 */
export async function finishJobs(
  monitor: BlockMonitor,
  ids: readonly string[],
  options: { what: string; signal: AbortSignal; onProgress?: (progress: CopyProgress) => void },
): Promise<Map<string, number>> {
  const totals = new Map<string, number>()
  const errors: string[] = []
  const open = new Set(ids)
  let cancelledAt: number | null = null
  while (open.size > 0) {
    const jobs = Jobs.parse(await monitor.execute('query-jobs')).filter(({ id }) => ids.includes(id))
    let [done, total] = [0, 0]
    for (const job of jobs) {
      totals.set(job.id, job['total-progress'])
      if (job.status === 'concluded' && open.has(job.id)) {
        if (job.error !== undefined) errors.push(job.error)
        await monitor.execute('job-dismiss', { id: job.id })
        open.delete(job.id)
      }
    }
    // One that is not listed any more has been put away by its end.
    for (const id of [...open]) if (!jobs.some((job) => job.id === id)) open.delete(id)
    for (const job of jobs) {
      done += job['current-progress']
      total += job['total-progress']
    }
    if (open.size === 0) break
    options.onProgress?.({ doneBytes: done, totalBytes: total })
    // One that failed makes the others useless.
    if (options.signal.aborted || errors.length > 0) {
      if (cancelledAt === null) {
        cancelledAt = performance.now()
        for (const id of open) await monitor.execute('job-cancel', { id }).catch(() => {})
      } else if (performance.now() - cancelledAt > CANCEL_MS) {
        throw new EngineError('unresponsive', `${options.what} was to end, and QEMU has not ended it.`)
      }
    }
    await sleep(POLL_MS)
  }
  options.signal.throwIfAborted()
  const real = errors.find((error) => !/cancel/i.test(error)) ?? errors[0]
  if (real !== undefined) throw blockError(options.what, real)
  return totals
}

/** Runs one command; QEMU's refusal becomes words. @throws EngineError */
export async function tell(
  monitor: BlockMonitor,
  what: string,
  command: string,
  args?: { [key: string]: QmpJson | undefined },
): Promise<QmpJson> {
  try {
    return await monitor.execute(command, args)
  } catch (error) {
    if (error instanceof QmpCommandError) throw blockError(what, error.desc, error)
    throw error
  }
}

const Nodes = z.array(
  z.object({
    'node-name': z.string().optional(),
    drv: z.string(),
    file: z.string(),
    ro: z.boolean(),
    image: z.object({ 'virtual-size': z.coerce.number() }),
    'dirty-bitmaps': z
      .array(
        z.object({
          name: z.string().optional(),
          count: z.coerce.number(),
          recording: z.boolean(),
          busy: z.boolean(),
          persistent: z.boolean(),
          inconsistent: z.boolean().optional(),
        }),
      )
      .optional(),
  }),
)

export interface BlockNode {
  readonly name: string
  readonly virtualSizeBytes: number
  readonly bitmaps: readonly { name: string; count: number; usable: boolean; busy: boolean }[]
}

/** The format nodes of a QEMU by the file they have on disk. */
export async function nodesByFile(monitor: BlockMonitor): Promise<Map<string, BlockNode>> {
  const found = new Map<string, BlockNode>()
  const nodes = Nodes.parse(await monitor.execute('query-named-block-nodes', { flat: true }))
  // Of a guest's disk, the node of the file is called after that of the format, with an `f` behind. Its name in the list
  // is surely a plain path; that of the format is a `json:` text where the chain is not what the file's header says.
  const paths = new Map(nodes.map((node) => [node['node-name'], node.file]))
  for (const node of nodes) {
    if (node['node-name'] === undefined || (node.drv !== 'qcow2' && node.drv !== 'raw')) continue
    found.set(paths.get(`${node['node-name']}f`) ?? node.file, {
      name: node['node-name'],
      virtualSizeBytes: node.image['virtual-size'],
      bitmaps: (node['dirty-bitmaps'] ?? []).flatMap(({ name, ...bitmap }) =>
        name === undefined
          ? []
          : [
              {
                name,
                count: bitmap.count,
                busy: bitmap.busy,
                usable: bitmap.recording && bitmap.persistent && bitmap.inconsistent !== true,
              },
            ],
      ),
    })
  }
  return found
}
