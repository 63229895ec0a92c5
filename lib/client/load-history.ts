/** The last CPU loads of each VM, for the spark lines. Filled by events; lives as long as the page. */
import type { Vm } from '#lib/schema/vm-state.ts'

const HISTORY_LENGTH = 40
interface Series {
  readonly pid: number
  lastAt: string
  readonly values: number[]
}
const series = new Map<string, Series>()

/** Adds the load of `vm` sampled at `at` (ISO instant). A new process starts a new line. Same instant: ignored. */
export function recordLoad(vm: Pick<Vm, 'id' | 'live'>, at: string): void {
  const { live } = vm
  if (!live) {
    series.delete(vm.id)
    return
  }
  if (live.cpuLoad === null) return
  let known = series.get(vm.id)
  if (!known || known.pid !== live.pid) {
    known = { pid: live.pid, lastAt: '', values: [] }
    series.set(vm.id, known)
  }
  if (known.lastAt === at) return
  known.lastAt = at
  known.values.push(live.cpuLoad)
  if (known.values.length > HISTORY_LENGTH) known.values.shift()
}

/** Oldest first; empty when nothing is known. */
export const loadHistory = (id: string): readonly number[] => series.get(id)?.values ?? []
