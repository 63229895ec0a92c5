/** A file system in libguestfs's small system, in the shape that our own readers have. */
import type { FsEntry, FsNode, NodeType } from '#server/filesystems/types.ts'
import { notA } from '#server/filesystems/types.ts'
import type { Facts } from './frames.ts'
import { Absent, type FilesReader } from './reader.ts'

/** File systems whose rights are made up when they are opened. */
const WITHOUT_MODES: ReadonlySet<string> = new Set(['ntfs', 'exfat', 'vfat'])
const TYPES: ReadonlyMap<number, NodeType> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
])

/** @param device as the small system calls it @param type as it calls the file system */
export function helpedRoot(reader: FilesReader, device: string, type: string): FsNode {
  const nodeOf = (path: Buffer, facts: Facts): FsNode => {
    const kind = TYPES.get(facts.mode & 0o170000) ?? 'other'
    const below = (name: Buffer): Buffer => Buffer.concat([path, Buffer.from(path.length === 1 ? '' : '/'), name])
    const entryOf = (name: Buffer, known: Facts | null): FsEntry => ({
      name,
      // What could not be asked for with the others tells why when it is asked for alone.
      open: async () => nodeOf(below(name), known ?? (await reader.stat(device, below(name)))),
    })
    const isDirectory = kind === 'directory'
    return {
      type: kind,
      sizeBytes: kind === 'file' ? facts.sizeBytes : 0,
      modifiedMs: facts.modifiedMs,
      mode: WITHOUT_MODES.has(type) ? null : facts.mode & 0o7777,
      list: isDirectory
        ? async () => {
            const { entries, isCut } = await reader.list(device, path)
            return { entries: entries.map(({ name, facts: known }) => entryOf(name, known)), isCut }
          }
        : notA('directory'),
      ...(isDirectory && {
        entry: async (name: Buffer) => {
          const known = await reader.stat(device, below(name)).catch((error: unknown) => {
            if (error instanceof Absent) return null
            throw error
          })
          return known === null ? null : entryOf(name, known)
        },
      }),
      read: kind === 'file' ? (offset, length) => reader.read(device, path, offset, length) : notA('file'),
      target: kind === 'symlink' ? () => reader.link(device, path) : notA('symlink'),
    }
  }
  return nodeOf(Buffer.from('/'), { mode: 0o040755, sizeBytes: 0, modifiedMs: 0 })
}
