/** Files on disks, images, snapshots and in backups, looked at without starting anything. */
import * as z from 'zod'
import { Instant } from './ids.ts'

/** Logical volumes count from the next on; tables of partitions do not get so far. */
export const VOLUMES_FROM = 200

/** A partition of a disk, a logical volume, or all of it. */
export const DiskPart = z
  .strictObject({
    /** Number in the partition table; 0: the disk has none. From 201 on: logical volumes, known when LVM was opened. */
    number: z.int(),
    /** Its file system as people call it; null: nothing that is known. */
    fileSystem: z.string().nullable(),
    label: z.string().nullable(),
    sizeBytes: z.number(),
    /** Read by libguestfs's small system, which has to be started first; else in a moment. */
    isHelped: z.boolean(),
    /** Why its files cannot be shown, and what to do; null: they can. */
    problem: z.string().nullable(),
  })
  .meta({ id: 'DiskPart' })
export type DiskPart = z.output<typeof DiskPart>

export const DiskFile = z
  .strictObject({
    /** For people: what cannot be shown stands as a replacement character. */
    name: z.string(),
    /** To ask for it: exact, whatever its bytes. */
    path: z.string(),
    type: z.enum(['file', 'directory', 'symlink', 'other']),
    sizeBytes: z.number().nullable(),
    modifiedAt: Instant.nullable(),
    /** As `ls` writes it, for example `rwxr-x---`; null where there is none. */
    mode: z.string().nullable(),
    /** Where a link points. It is not followed. */
    target: z.string().nullable(),
    /** Why nothing is known of it; null: all is well. */
    problem: z.string().nullable(),
  })
  .meta({ id: 'DiskFile' })
export type DiskFile = z.output<typeof DiskFile>

export const DiskFiles = z
  .strictObject({
    /** What it is of, for people: the image's name, the disk's, the backup's time. */
    title: z.string(),
    /** Of a backup or a snapshot, whose disks can be chosen; else empty. */
    devices: z.array(z.string()),
    device: z.string().nullable(),
    parts: z.array(DiskPart),
    /** The part whose directory this is; null: none was asked for, and there is not just one that can be read. */
    part: z.int().nullable(),
    /** The small system that reads this part is being started: ask again in a second; whoever asks no more lets it end. Else null. */
    preparing: z.strictObject({ step: z.enum(['making', 'starting']), startedAt: Instant }).nullable(),
    /** Steps from the top to this directory, itself last. */
    steps: z.array(z.strictObject({ name: z.string(), path: z.string() })),
    /** By name. */
    entries: z.array(DiskFile),
    /** Of all entries of the directory, the first here. */
    offset: z.int(),
    total: z.int(),
    /** The directory has more than are read at all. */
    isCut: z.boolean(),
  })
  .meta({ id: 'DiskFiles' })
export type DiskFiles = z.output<typeof DiskFiles>

/** Entries of one answer. */
export const FILES_PAGE = 500

const Where = z.strictObject({
  device: z.string().max(64).optional(),
  part: z.coerce.number().int().min(0).max(1000).optional(),
  path: z.string().max(8192).default('/'),
})
export const FilesQuery = Where.extend({ offset: z.coerce.number().int().min(0).max(1_000_000).default(0) })
export type FilesQuery = z.output<typeof FilesQuery>
export const FileQuery = Where.extend({ path: z.string().min(1).max(8192) })
export type FileQuery = z.output<typeof FileQuery>
