/** What the supervisor's tests with real QEMU share. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { VmExit } from '#lib/schema/vm-state.ts'
import { readProcStat } from '#server/platform/process.ts'
import type { Supervisor, VmRuntime } from '../types.ts'
import { type GuestOptions, type Lab, newVmId } from './lab.ts'

export { sleep }

/** Resolves with the first runtime that fits, now or later. */
export async function until(
  s: Supervisor,
  vmId: string,
  fits: (r: VmRuntime) => boolean,
  ms = 10_000,
): Promise<VmRuntime> {
  const now = s.runtime(vmId)
  if (fits(now)) return now
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      stop()
      const { state, detail } = s.runtime(vmId)
      reject(new Error(`still ${state} (${detail}) after ${ms} ms`))
    }, ms)
    const stop = s.onChange((id, runtime) => {
      if (id !== vmId || !fits(runtime)) return
      clearTimeout(timer)
      stop()
      resolve(runtime)
    })
  })
}
export const untilState = (s: Supervisor, vmId: string, state: VmRuntime['state'], ms?: number) =>
  until(s, vmId, (r) => r.state === state, ms)

/** VMs as the store knows them, none of which ever ended. */
export function known(...vmIds: string[]): Map<string, { lastExit: VmExit | null }> {
  return new Map(vmIds.map((vmId) => [vmId, { lastExit: null }]))
}

/** A new VM, running. */
export async function started(
  lab: Lab,
  options: GuestOptions = {},
): Promise<{ s: Supervisor; vmId: string; pid: number }> {
  const s = lab.supervisor()
  const vmId = newVmId()
  s.register(vmId)
  const prepared = await lab.prepare(vmId, options)
  const runtime = await s.start(vmId, 'ann', async () => prepared)
  return { s, vmId, pid: runtime.live?.pid ?? 0 }
}

/** True once the process has ended, reaped or not. */
export const isGone = (pid: number) => ['Z', 'X', undefined].includes(readProcStat(pid)?.state)
