/** Which unix sockets somebody listens on: from the kernel's list, without connecting. */
import { readFileSync, statSync } from 'node:fs'

/** `__SO_ACCEPTCON` of include/linux/net.h. */
const ACCEPTS_CONNECTIONS = 1 << 16

/** Pure: whether /proc/net/unix shows a listener on this path. */
export function listsListener(table: string, path: string): boolean {
  return table.split('\n').some((line) => {
    const [, , , flags, , , , ...name] = line.trim().split(/ +/)
    return name.join(' ') === path && (Number.parseInt(flags ?? '0', 16) & ACCEPTS_CONNECTIONS) !== 0
  })
}

/**
 * Whether the process listens there. For daemons that serve one client and then end, which a trial connection would
 * finish off. The list is that of the process's network namespace, which need not be ours. Where it cannot be read, a
 * socket that exists counts.
 */
export function isListening(path: string, pid: number): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return false
  try {
    return listsListener(readFileSync(`/proc/${pid}/net/unix`, 'utf8'), path)
  } catch {
    return true
  }
}
