/**
 * Snapshots of a guest that runs: what is asked of its QEMU.
 *
 * QEMU: qapi/migration.json (snapshot-save, -load, -delete), qapi/block-core.json (blockdev-snapshot, block-commit),
 * qapi/transaction.json, migration/savevm.c. While memory is saved or loaded QEMU answers nothing, so these commands
 * and the questions after them wait long.
 */
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { QmpJson } from '#server/qmp/types.ts'

/** The part of a running guest this needs. */
export interface SnapshotGuest {
  /** @throws QmpError */
  ask(
    command: string,
    args?: { readonly [key: string]: QmpJson | undefined },
    options?: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<QmpJson>
}

interface JobOptions {
  /** Asks for the end of it. A job that cannot be cancelled goes on. */
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
  /** What to do once it stands ready for its last step (an active commit); left out: QEMU does it alone. */
  readonly whenReady?: () => Promise<void>
  /** Stores that it succeeded, while QEMU can still be asked whether it did: a crash before is put right after it. */
  readonly onDone?: () => Promise<void> | void
}

/** Writing a guest's memory out takes as long as the disk needs for it. */
const BLOCKING_MS = 30 * 60_000
const POLL_MS = 100

const Jobs = z.array(
  z.object({
    id: z.string(),
    status: z.string(),
    'current-progress': z.coerce.number(),
    'total-progress': z.coerce.number(),
    error: z.string().optional(),
  }),
)
export type QemuJob = z.output<typeof Jobs>[number]

export async function listJobs(guest: SnapshotGuest): Promise<QemuJob[]> {
  return Jobs.parse(await guest.ask('query-jobs', undefined, { timeoutMs: BLOCKING_MS }))
}

/** The job failed; `words` are QEMU's. */
export class QemuJobError extends Error {
  override readonly name = 'QemuJobError'
  readonly words: string

  constructor(words: string) {
    super(words)
    this.words = words
  }
}

/**
 * Starts a job and sees it through: progress, the last step, its result, and that it leaves nothing behind. A job of
 * this id that is there already (the dashboard was restarted) is taken up instead of started.
 * @throws QemuJobError; the signal's reason once it was cancelled; QmpError
 */
export async function seeThrough(
  guest: SnapshotGuest,
  id: string,
  start: (() => Promise<unknown>) | null,
  { signal, onProgress, whenReady, onDone }: JobOptions = {},
): Promise<void> {
  signal?.throwIfAborted()
  await start?.()
  let asked = false
  let completed = false
  for (;;) {
    const job = (await listJobs(guest)).find((one) => one.id === id)
    // Dismissed by itself: jobs that are started here never are.
    if (job === undefined) return
    if (job['total-progress'] > 0) onProgress?.(job['current-progress'], job['total-progress'])
    if (job.status === 'concluded') {
      if (job.error === undefined && !asked) await onDone?.()
      await guest.ask('job-dismiss', { id })
      if (signal?.aborted && asked) throw signal.reason
      if (job.error !== undefined) throw new QemuJobError(job.error)
      return
    }
    if (signal?.aborted && !asked && !completed) {
      asked = true
      // One that cannot be cancelled any more is over soon.
      await guest.ask('job-cancel', { id }).catch(() => null)
    } else if (job.status === 'ready' && !completed && !asked) {
      completed = true
      await whenReady?.()
      await guest.ask('job-complete', { id })
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Jobs of one snapshot, by what they do; found again after a restart. */
export const jobIdOf = (what: 'save' | 'load' | 'delete' | 'nvram' | 'merge', snapshotId: string, part = ''): string =>
  `gd-${what}-${snapshotId}${part}`

const Blocked = z.object({ 'blocked-reasons': z.array(z.string()).default([]) })

/** Devices QEMU cannot save, in its own words. */
export async function blockedReasons(guest: SnapshotGuest): Promise<string[]> {
  return Blocked.parse(await guest.ask('query-migrate'))['blocked-reasons']
}

const Nodes = z.array(
  z.object({
    'node-name': z.string().default(''),
    drv: z.string(),
    file: z.string(),
    ro: z.boolean(),
    image: z
      .object({
        snapshots: z.array(z.object({ name: z.string(), 'vm-state-size': z.coerce.number() })).default([]),
      })
      .optional(),
  }),
)
export type BlockNode = z.output<typeof Nodes>[number]

export async function listNodes(guest: SnapshotGuest): Promise<BlockNode[]> {
  return Nodes.parse(await guest.ask('query-named-block-nodes', { flat: true }))
}

/** Nodes begun for a device by snapshots: `disk0.s1a2b3c4d`; QEMU takes at most 31 bytes. */
export const overlayNode = (device: string, layerId: string): string => `${device.slice(0, 20)}.s${layerId.slice(-8)}`

export interface MemoryTarget {
  readonly tag: string
  /** Node that keeps the memory beside its own data. */
  readonly vmstate: string
  readonly nodes: readonly string[]
}

/** @throws QemuJobError in QEMU's words; then nothing of the tag may be left, or all, or a part (delete it) */
export async function saveMemory(
  guest: SnapshotGuest,
  id: string,
  { tag, vmstate, nodes }: MemoryTarget,
  options: JobOptions = {},
): Promise<void> {
  const args = { 'job-id': id, tag, vmstate, devices: [...nodes] }
  await seeThrough(guest, id, () => guest.ask('snapshot-save', args, { timeoutMs: BLOCKING_MS }), options)
}

const BitmapNodes = z.array(
  z.object({
    'node-name': z.string().optional(),
    'dirty-bitmaps': z.array(z.object({ name: z.string().optional(), busy: z.boolean() })).optional(),
  }),
)

/**
 * Bitmaps count what changed since a backup, which is no longer so once a disk goes back, and QEMU refuses to load while a
 * disk has any: the next backup copies everything.
 */
async function dropBitmaps(guest: SnapshotGuest, nodes: readonly string[]): Promise<void> {
  for (const node of BitmapNodes.parse(await guest.ask('query-named-block-nodes', { flat: true }))) {
    const name = node['node-name']
    if (name === undefined || !nodes.includes(name)) continue
    for (const bitmap of node['dirty-bitmaps'] ?? [])
      if (bitmap.name !== undefined && !bitmap.busy)
        await guest.ask('block-dirty-bitmap-remove', { node: name, name: bitmap.name })
  }
}

/** @throws QemuJobError; the guest then stands still (`restore-vm`), see `afterFailedLoad` */
export async function loadMemory(
  guest: SnapshotGuest,
  id: string,
  { tag, vmstate, nodes }: MemoryTarget,
  options: JobOptions = {},
): Promise<void> {
  await dropBitmaps(guest, nodes)
  const args = { 'job-id': id, tag, vmstate, devices: [...nodes] }
  await seeThrough(guest, id, () => guest.ask('snapshot-load', args, { timeoutMs: BLOCKING_MS }), options)
}

/**
 * A failed load leaves the guest stopped. Where it failed before the disks were touched, the guest goes on as it was.
 * Where it failed in the memory, QEMU has put back the disks and reset the machine (migration/savevm.c, load_snapshot):
 * then a fresh start from these disks is the only state that fits them.
 * @returns whether the disks are those of the snapshot now
 */
export async function afterFailedLoad(guest: SnapshotGuest, words: string, wasRunning: boolean): Promise<boolean> {
  const hasDisksBack = /loading VM state|Could not load snapshot/i.test(words)
  if (hasDisksBack) await guest.ask('system_reset')
  if (wasRunning) await guest.ask('cont')
  return hasDisksBack
}

/** What is not there is no fault. @throws QemuJobError */
export async function deleteTag(
  guest: SnapshotGuest,
  id: string,
  tag: string,
  nodes: readonly string[],
  options: JobOptions = {},
): Promise<void> {
  if (nodes.length === 0) return
  const args = { 'job-id': id, tag, devices: [...nodes] }
  await seeThrough(guest, id, () => guest.ask('snapshot-delete', args, { timeoutMs: BLOCKING_MS }), options)
}

/** Bytes of memory saved under a tag; null when no file has it. */
export function memoryBytesOf(nodes: readonly BlockNode[], tag: string): number | null {
  const sizes = nodes.flatMap(({ image }) =>
    (image?.snapshots ?? []).filter(({ name }) => name === tag).map((snapshot) => snapshot['vm-state-size']),
  )
  return sizes.length === 0 ? null : Math.max(...sizes)
}

/** One that is not there, or still in use, stays as it is. */
export async function dropNode(guest: SnapshotGuest, node: string): Promise<boolean> {
  try {
    await guest.ask('blockdev-del', { 'node-name': node })
    return true
  } catch (error) {
    if (error instanceof QmpCommandError) return false
    throw error
  }
}

export interface Switch {
  /** Top of a disk, and what takes its writes from now on. */
  readonly overlays: readonly { readonly node: string; readonly overlay: string }[]
  /** UEFI variables, copied as they are in the same moment. */
  readonly nvram: { readonly node: string; readonly target: string; readonly jobId: string } | null
}

/** All disks at one moment, or none. @throws QmpCommandError */
export async function switchOver(guest: SnapshotGuest, { overlays, nvram }: Switch): Promise<void> {
  await guest.ask(
    'transaction',
    {
      actions: [
        ...overlays.map(({ node, overlay }) => ({ type: 'blockdev-snapshot', data: { node, overlay } })),
        ...(nvram === null
          ? []
          : [
              {
                type: 'blockdev-backup',
                data: {
                  'job-id': nvram.jobId,
                  device: nvram.node,
                  target: nvram.target,
                  sync: 'full',
                  'auto-dismiss': false,
                },
              },
            ]),
      ],
    },
    { timeoutMs: 60_000 },
  )
}

export interface Merge {
  readonly jobId: string
  /** Top of the whole disk. */
  readonly top: string
  /** What goes, and what its data goes into. */
  readonly from: string
  readonly into: string
  /** What the layer above `from` is to call the one below it. */
  readonly backingFile: string
}

/**
 * Merges one layer into the one below it. When the topmost goes, the guest stands still for the moment between the last
 * block and the note of it (`note`): whichever file is taken for the disk after a crash, both hold the same.
 * @param note stores that the disk is now what was merged into
 * @param mark remembers, so that it survives a crash, that the guest was stopped for this
 * @throws QemuJobError; the signal's reason, the disk then being as before
 */
export async function mergeLive(
  guest: SnapshotGuest,
  { jobId, top, from, into, backingFile }: Merge,
  note: () => void,
  mark: (stopped: boolean) => void,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void } = {},
): Promise<void> {
  const isActive = top === from
  let wasRunning = false
  let isOver = false
  const isKnown = (await listJobs(guest)).some(({ id }) => id === jobId)
  const start = isKnown
    ? null
    : () =>
        guest.ask('block-commit', {
          'job-id': jobId,
          device: top,
          'top-node': from,
          'base-node': into,
          'auto-dismiss': false,
          ...(isActive ? {} : { 'backing-file': backingFile }),
        })
  const goOn = async () => {
    if (!wasRunning) return
    await guest.ask('cont')
    mark(false)
  }
  try {
    await seeThrough(guest, jobId, start, {
      ...options,
      whenReady: async () => {
        wasRunning = (await readStatus(guest)) === 'running'
        if (!wasRunning) return
        mark(true)
        await guest.ask('stop')
      },
      onDone() {
        isOver = true
        note()
      },
    })
  } catch (error) {
    // Over and not noted, it stays stopped: what it wrote from here on would be lost at its next start.
    if (!isOver) await goOn()
    throw error
  }
  await dropNode(guest, from)
  await goOn()
}

const Status = z.object({ status: z.string() })
export async function readStatus(guest: SnapshotGuest): Promise<string> {
  return Status.parse(await guest.ask('query-status')).status
}

/** QEMU's words on a failed job, for people. @param deviceOf name of the disk a node belongs to */
export function jobFailure(what: string, error: unknown): unknown {
  if (!(error instanceof QemuJobError) && !(error instanceof QmpCommandError)) return error
  const words = error instanceof QemuJobError ? error.words : error.desc
  if (/No space left|Disk quota/i.test(words))
    return new EngineError('no_space', `${what} failed: the disk of the host is full. Make room, then try again.`, {
      cause: error,
    })
  const blocked = /non-migratable device|VirtFS|mount_tag/.test(words)
  if (blocked) return new EngineError('conflict', words, { cause: error })
  return new EngineError('wrong_state', `${what} failed. QEMU says: ${withoutPaths(words)}`, { cause: error })
}

/** Names of the host's files stay in the log. */
const withoutPaths = (words: string) => words.replace(/\/[^\s'":]*\/[^\s'":]*/g, '…').slice(0, 300)
