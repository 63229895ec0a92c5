/** Host CPUs: lists of numbers as the kernel writes them, which are there, which a thread may use. */
import { readFileSync } from 'node:fs'

/** Numbers of a list such as `0-3,8`, ascending and once each. Pure; what is no list is empty. */
export function parseCpuList(text: string): number[] {
  const numbers = new Set<number>()
  for (const part of text.trim().split(',')) {
    const [from, to] = part.split('-').map((word) => (word === '' ? Number.NaN : Number(word)))
    if (from === undefined || !Number.isInteger(from)) continue
    for (let n = from; n <= (to ?? from) && n < 65_536; n += 1) numbers.add(n)
  }
  return [...numbers].sort((a, b) => a - b)
}

/** CPUs of the host that are switched on; null where the kernel does not say. */
export function readOnlineCpus(): number[] | null {
  try {
    return parseCpuList(readFileSync('/sys/devices/system/cpu/online', 'latin1'))
  } catch {
    return null
  }
}

/** CPUs the kernel lets a thread run on; null when the thread is gone. */
export function readAllowedCpus(pid: number, tid: number): number[] | null {
  try {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'latin1')
    const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1]
    return list === undefined ? null : parseCpuList(list)
  } catch {
    return null
  }
}
