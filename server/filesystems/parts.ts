/** The parts of a disk that may hold files, and what can be said of each. */
import { partitionBytes, readPartitions } from './partitions.ts'
import { type FsName, openFileSystem, recognise } from './recognise.ts'
import { type Bytes, type FileSystem, Unreadable } from './types.ts'

/** Of a disk with more, the rest is not shown. */
const MAX_PARTS = 128

export interface Part {
  /** As the table counts; 0: the whole disk. */
  readonly number: number
  readonly bytes: Bytes
  readonly name: FsName | null
  /** Null: there is no reader of ours for it, or it cannot be read; see `problem`. */
  readonly fs: FileSystem | null
  /** What a reader of ours said. */
  readonly problem: string | null
}

/** An ISO image may have a partition table besides; its files are those of the disc. */
export async function readParts(bytes: Bytes): Promise<Part[]> {
  const whole = await recognise(bytes)
  if (whole !== null) return [await openPart(0, bytes, whole)]
  const { partitions } = await readPartitions(bytes)
  if (partitions.length === 0) return [await openPart(0, bytes, null)]
  const parts: Part[] = []
  for (const partition of partitions.slice(0, MAX_PARTS)) {
    const area = partitionBytes(bytes, partition)
    parts.push(await openPart(partition.number, area, await recognise(area)))
  }
  return parts
}

async function openPart(number: number, bytes: Bytes, name: FsName | null): Promise<Part> {
  try {
    return { number, bytes, name, fs: await openFileSystem(bytes, name), problem: null }
  } catch (error) {
    if (error instanceof Unreadable || error instanceof RangeError)
      return { number, bytes, name, fs: null, problem: error instanceof Unreadable ? error.message : null }
    throw error
  }
}
