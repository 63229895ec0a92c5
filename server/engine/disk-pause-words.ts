/** What is told of a guest that its disks stopped: what happened, why, what to do. Pure. */
import type { DiskPause } from '#lib/schema/vm-state.ts'
import { bytesInWords } from '#server/storage/pool-state.ts'

export function pauseSentence({ disks, heldBy, resumesItself }: DiskPause): string {
  const [disk] = disks
  if (disk === undefined) return ''
  const { cause, device, pool, freeBytes, neededBytes } = disk
  const where = pool === null ? 'its storage' : `the storage pool ${pool.name}`
  const free = freeBytes === null ? '' : ` (${bytesInWords(freeBytes)} free)`
  const others = disks.length === 1 ? '' : ` ${disks.length - 1} more of its disks wait as well.`
  const what = {
    room: `The disk “${device}” cannot be written: ${where} is full${free}. The guest is paused and loses nothing.`,
    limit: `The file of the disk “${device}” must not become larger: a quota or a limit for files is in the way, not the room in ${where}${free}. The guest is paused and loses nothing.`,
    other: `Writing to the disk “${device}” failed on the host. The guest is paused and repeats the write when it goes on.`,
  }[cause]
  const next = {
    room: `Make room${resumesItself && neededBytes !== null ? `: it goes on by itself once ${bytesInWords(neededBytes)} are free` : ', then resume'}.`,
    limit: 'Raise the limit, then resume.',
    other: `Look at what lies below ${where} (kernel log of the host), then resume.`,
  }[cause]
  const held = heldBy === null ? '' : ` ${heldBy} wants it to stay paused.`
  return `${what}${others} ${next}${held}`
}
