/** CPU seconds and memory of processes, from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

/** Linux reports process times in this many ticks a second on every architecture we run on (`getconf CLK_TCK`). */
const TICKS = 100

function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** User and system time of one process so far, seconds; 0 once it is gone. */
export function cpuSeconds(pid: number): number {
  try {
    const fields = statFields(pid)
    return (Number(fields[11]) + Number(fields[12])) / TICKS
  } catch {
    return 0
  }
}

/** Resident bytes of one process; 0 once it is gone. */
export function residentBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

/** A process and everything below it. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    try {
      const parent = Number(statFields(pid)[1])
      children.set(parent, [...(children.get(parent) ?? []), pid])
    } catch {
      // It ended while we looked.
    }
  }
  const tree: number[] = []
  const queue = [root]
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    tree.push(pid)
    queue.push(...(children.get(pid) ?? []))
  }
  return tree
}
