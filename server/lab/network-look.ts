/** What moves on a guest's network: bytes on its taps by the kernel's count, connections through QEMU's own network. */
import { readFile } from 'node:fs/promises'
import { countConnections } from '#lib/lab/idle.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'

const ASK_EVERY_MS = 60_000

async function bytesOf(tap: string): Promise<number> {
  const read = async (name: string) => Number(await readFile(`/sys/class/net/${tap}/statistics/${name}`, 'utf8'))
  return (await read('rx_bytes')) + (await read('tx_bytes'))
}

export interface NetworkLook {
  readonly bytesPerSecond: number | null
  readonly connections: number | null
}

interface Seen {
  bytes: number | null
  atMs: number
  askedMs: number
  connections: number | null
}

export interface NetworkWatch {
  /** @param asks false: QEMU is left alone, and what it said last counts */
  look(vmId: string, runtime: VmRuntime, nowMs: number, asks: boolean): Promise<NetworkLook>
  forget(vmId: string): void
}

export function createNetworkWatch(supervisor: Pick<Supervisor, 'work'>): NetworkWatch {
  const seen = new Map<string, Seen>()
  return {
    async look(vmId, { launchedPlan, launchedSpec }, nowMs, asks) {
      const last = seen.get(vmId)
      const taps = launchedPlan?.taps ?? []
      let bytes: number | null = null
      if (taps.length > 0) {
        const counts = await Promise.all(taps.map(({ name }) => bytesOf(name).catch(() => Number.NaN)))
        const sum = counts.reduce((all, count) => all + count, 0)
        bytes = Number.isNaN(sum) ? null : sum
      }
      const seconds = last === undefined ? 0 : (nowMs - last.atMs) / 1000
      const bytesPerSecond =
        bytes === null || last === undefined || last.bytes === null || seconds <= 0
          ? null
          : Math.max(0, bytes - last.bytes) / seconds
      const hasUserNetwork = launchedSpec?.networks.some((card) => card.network === 'user') === true
      let connections = hasUserNetwork ? (last?.connections ?? null) : null
      let askedMs = last?.askedMs ?? Number.NEGATIVE_INFINITY
      if (hasUserNetwork && asks && nowMs - askedMs >= ASK_EVERY_MS) {
        askedMs = nowMs
        connections = await supervisor
          .work(vmId, (work) => work.ask('human-monitor-command', { 'command-line': 'info usernet' }))
          .then((text) => (typeof text === 'string' ? countConnections(text) : null))
          // It ended, or does not answer: the next look sees that.
          .catch(() => null)
      }
      seen.set(vmId, { bytes, atMs: nowMs, askedMs, connections })
      return { bytesPerSecond, connections }
    },
    forget: (vmId) => void seen.delete(vmId),
  }
}
