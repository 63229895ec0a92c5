/** Stored forms of volumes and of the files (layers) they are made of. */
import * as z from 'zod'

/**
 * A disk. Its content is the chain that starts at `head`; `head` alone is written. Exactly one layer is the head of a
 * volume, and a layer is the head of at most one.
 */
export const VolumeDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  poolId: z.string(),
  ownerId: z.string(),
  /** VM and device that hold it; null: free. */
  vm: z.object({ id: z.string(), device: z.string() }).nullable(),
  head: z.string(),
  /** What the guest sees. */
  sizeBytes: z.number(),
  createdAt: z.string(),
  /** When it was put in the trash; null: it is in use or free. */
  trashedAt: z.string().nullable(),
  /** Name of the VM it was taken from when it was put there. */
  trashedFrom: z.string().nullable().optional(),
})
export type VolumeDocument = z.output<typeof VolumeDocument>

/** One file. A layer with children, or named by a snapshot, is frozen: read, never written. */
export const LayerDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  poolId: z.string(),
  /** Relative to the pool's root. */
  file: z.string(),
  format: z.enum(['qcow2', 'raw']),
  sizeBytes: z.number(),
  /** What unwritten blocks are read from. */
  parent: z.union([z.object({ layer: z.string() }), z.object({ image: z.string() })]).nullable(),
  /** Who may read and write the file; null: the dashboard's user, or (once shared) the group of all guests may read. */
  uid: z.number().nullable(),
  /** Of a shared one: the group that may read it, in which its guests are. Null or left out: that of all guests. */
  gid: z.number().nullable().optional(),
  /** `making`: its file may be missing or half written. `leaving`: its file is being removed. */
  state: z.enum(['making', 'ready', 'leaving']),
  createdAt: z.string(),
})
export type LayerDocument = z.output<typeof LayerDocument>
