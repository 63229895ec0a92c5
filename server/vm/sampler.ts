/**
 * Live numbers, cheaply: two reads of /proc through open descriptors a sample, once a second while somebody watches,
 * every five seconds otherwise; a stopped guest half as often as that. QEMU is asked for what only it knows every
 * other second, and at least every five: that is also the heartbeat which finds one that no longer answers.
 */
import * as z from 'zod'
import { capLog } from '#server/platform/fs.ts'
import { ProcessMeter, readSystemUnits } from '#server/platform/process.ts'
import { readAddresses } from '#server/qga/client.ts'
import type { QmpJson } from '#server/qmp/types.ts'
import type { Guest } from './guest.ts'

const WATCHED_MS = 1000
const UNWATCHED_MS = 5000
const STOPPED_MS = 10_000
const BALLOON_MS = 10_000
const AGENT_MS = 30_000
const LOG_CHECK_MS = 15_000
const DISK_MS = 2000
/** QEMU is asked something at least so often. */
const HEARTBEAT_MS = 5000
const LOG_MAX_BYTES = 1024 * 1024
const LOG_KEEP_BYTES = 16 * 1024

/**
 * Guests are sampled together at multiples of this: most of a sample's cost is waking up for it, and one wake-up then
 * serves all. Milliseconds.
 */
const SLOT_MS = 500
/** More than this at once would be felt by requests; the others follow in the next turns of the event loop. */
const BATCH_MAX = 40
const BATCH_PAUSE_MS = 10
const onSlot = (ms: number): number => Math.round(ms / SLOT_MS) * SLOT_MS

/** The part of a VM's live view that changes all the time. */
export interface LiveNumbers {
  readonly cpuLoad: number | null
  readonly residentMiB: number | null
  readonly guestMemory: { readonly totalMiB: number; readonly availableMiB: number | null } | null
  readonly disk: { readonly readBytesPerSecond: number; readonly writeBytesPerSecond: number } | null
  readonly agent: boolean | null
  readonly addresses: readonly string[]
}

export const NO_NUMBERS: LiveNumbers = {
  cpuLoad: null,
  residentMiB: null,
  guestMemory: null,
  disk: null,
  agent: null,
  addresses: [],
}

const Count = z.union([z.number(), z.bigint()]).transform(Number)
const BlockStats = z.array(z.object({ stats: z.object({ rd_bytes: Count, wr_bytes: Count }) }))
const BalloonStats = z.object({
  'last-update': Count,
  stats: z.record(z.string(), z.union([z.number(), z.bigint()])),
})

/** Sums over the guest's block devices, bytes; null when the reply is none. Pure. */
export function sumBlockStats(reply: QmpJson): { readBytes: number; writtenBytes: number } | null {
  const parsed = BlockStats.safeParse(reply)
  if (!parsed.success) return null
  let readBytes = 0
  let writtenBytes = 0
  for (const { stats } of parsed.data) {
    readBytes += stats.rd_bytes
    writtenBytes += stats.wr_bytes
  }
  return { readBytes, writtenBytes }
}

const MIB = 1048576
const ABSENT_FROM = 2 ** 63

/**
 * What the balloon driver reports, or null while it has not. QEMU marks a missing value by -1, as signed or as
 * unsigned 64-bit number (hw/virtio/virtio-balloon.c). Pure.
 */
export function readBalloonStats(reply: QmpJson): LiveNumbers['guestMemory'] {
  const parsed = BalloonStats.safeParse(reply)
  if (!parsed.success || parsed.data['last-update'] === 0) return null
  const value = (name: string): number | null => {
    const raw = parsed.data.stats[name]
    if (raw === undefined) return null
    const bytes = Number(raw)
    return bytes < 0 || bytes >= ABSENT_FROM ? null : Math.round(bytes / MIB)
  }
  const totalMiB = value('stat-total-memory')
  if (totalMiB === null) return null
  return { totalMiB, availableMiB: value('stat-available-memory') ?? value('stat-free-memory') }
}

/** Rates and loads rounded to what people can see, so that noise is no change. */
function same(a: LiveNumbers, b: LiveNumbers): boolean {
  return (
    a.cpuLoad === b.cpuLoad &&
    a.residentMiB === b.residentMiB &&
    a.agent === b.agent &&
    a.disk?.readBytesPerSecond === b.disk?.readBytesPerSecond &&
    a.disk?.writeBytesPerSecond === b.disk?.writeBytesPerSecond &&
    a.guestMemory?.totalMiB === b.guestMemory?.totalMiB &&
    a.guestMemory?.availableMiB === b.guestMemory?.availableMiB &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, index) => address === b.addresses[index])
  )
}

const UNITS = readSystemUnits()

/** Samples one guest. */
export class GuestSampler {
  readonly #guest: Guest
  #meter: ProcessMeter | null = null
  #numbers: LiveNumbers = NO_NUMBERS
  #cpu: { ticks: number; atMs: number } | null = null
  #disk: { readBytes: number; writtenBytes: number; atMs: number } | null = null
  #balloonAtMs = Number.NEGATIVE_INFINITY
  #agentAtMs = Number.NEGATIVE_INFINITY
  #logAtMs = 0
  #agentBusy = false
  #heardAtMs = Number.NEGATIVE_INFINITY
  #reported: LiveNumbers
  #busy = false
  nextAtMs = 0

  constructor(guest: Guest) {
    this.#guest = guest
    this.#numbers = { ...NO_NUMBERS, agent: guest.agentOpen }
    this.#reported = this.#numbers
  }

  get numbers(): LiveNumbers {
    return this.#numbers
  }

  agentIs(open: boolean): void {
    this.#numbers = { ...this.#numbers, agent: open, addresses: open ? this.#numbers.addresses : [] }
    if (open) this.#agentAtMs = Number.NEGATIVE_INFINITY
  }

  intervalMs(watched: boolean, runs: boolean): number {
    if (!runs) return STOPPED_MS
    return watched ? WATCHED_MS : UNWATCHED_MS
  }

  /** True when the numbers changed since this last said so. Never throws: a silent QEMU is reported through the guest's listener. */
  async sample(nowMs: number, watched: boolean, runs: boolean): Promise<boolean> {
    if (this.#busy) return false
    this.#busy = true
    try {
      this.#readProcess(nowMs)
      await this.#askQemu(nowMs, watched, runs)
      this.#refreshAgent(nowMs, watched)
      if (nowMs - this.#logAtMs >= LOG_CHECK_MS) {
        this.#logAtMs = nowMs
        // A guest can make QEMU complain without end; its complaints must not fill the disk.
        void capLog(this.#guest.paths.stderr, LOG_MAX_BYTES, LOG_KEEP_BYTES)
      }
      const changed = !same(this.#reported, this.#numbers)
      this.#reported = this.#numbers
      return changed
    } catch {
      return false
    } finally {
      this.#busy = false
    }
  }

  close(): void {
    this.#meter?.close()
  }

  #readProcess(nowMs: number): void {
    this.#meter ??= new ProcessMeter(this.#guest.process.identity.pid)
    const reading = this.#meter.read()
    if (!reading) return
    const residentMiB = Math.round((reading.residentPages * UNITS.pageBytes) / MIB)
    let cpuLoad = this.#numbers.cpuLoad
    const last = this.#cpu
    if (last && nowMs > last.atMs) {
      const seconds = (nowMs - last.atMs) / 1000
      const load = (reading.cpuTicks - last.ticks) / UNITS.ticksPerSecond / seconds
      // QEMU's own threads add to the guest's; what is shown is the share of the CPUs the guest was given.
      cpuLoad = Math.round(Math.min(Math.max(load, 0), this.#guest.facts?.vcpus ?? 1) * 100) / 100
    }
    this.#cpu = { ticks: reading.cpuTicks, atMs: nowMs }
    this.#numbers = { ...this.#numbers, residentMiB, cpuLoad }
  }

  async #askQemu(nowMs: number, watched: boolean, runs: boolean): Promise<void> {
    const { balloonId, record } = this.#guest
    const live = watched && runs
    if (!live) {
      this.#disk = null
      if (!runs && this.#numbers.disk) this.#numbers = { ...this.#numbers, disk: null }
    }
    const hasDisks = (record?.spec?.disks.length ?? 1) > 0
    const diskDue = live && hasDisks && nowMs - (this.#disk?.atMs ?? Number.NEGATIVE_INFINITY) > DISK_MS - SLOT_MS
    const balloonDue = balloonId !== null && live && nowMs - this.#balloonAtMs >= BALLOON_MS
    if (!diskDue && !balloonDue) {
      if (nowMs - this.#heardAtMs < HEARTBEAT_MS - SLOT_MS) return
      await this.#guest.readRunState()
      this.#heardAtMs = nowMs
      return
    }
    if (balloonDue) this.#balloonAtMs = nowMs
    const [blocks, balloon] = await Promise.all([
      diskDue ? this.#guest.ask('query-blockstats') : null,
      balloonDue
        ? this.#guest
            .ask('qom-get', { path: `/machine/peripheral/${balloonId}`, property: 'guest-stats' })
            .catch(() => null)
        : null,
    ])
    this.#heardAtMs = nowMs
    const sums = sumBlockStats(blocks)
    if (sums) {
      const last = this.#disk
      if (last && nowMs > last.atMs) {
        const seconds = (nowMs - last.atMs) / 1000
        this.#numbers = {
          ...this.#numbers,
          disk: {
            readBytesPerSecond: Math.max(0, Math.round((sums.readBytes - last.readBytes) / seconds)),
            writeBytesPerSecond: Math.max(0, Math.round((sums.writtenBytes - last.writtenBytes) / seconds)),
          },
        }
      }
      this.#disk = { ...sums, atMs: nowMs }
    }
    if (balloon !== null) {
      this.#numbers = { ...this.#numbers, guestMemory: readBalloonStats(balloon) }
    }
  }

  /** On its own time: a hanging agent must not hold up the rest. */
  #refreshAgent(nowMs: number, watched: boolean): void {
    if (!this.#guest.agentOpen || this.#agentBusy) return
    const first = this.#agentAtMs === Number.NEGATIVE_INFINITY
    if (!first && (!watched || nowMs - this.#agentAtMs < AGENT_MS)) return
    this.#agentAtMs = nowMs
    this.#agentBusy = true
    readAddresses(this.#guest.paths.agent)
      .then(
        (addresses) => {
          this.#numbers = { ...this.#numbers, agent: true, addresses }
        },
        () => {
          this.#numbers = { ...this.#numbers, agent: false, addresses: [] }
        },
      )
      .finally(() => {
        this.#agentBusy = false
      })
  }
}

export interface Sampled {
  readonly sampler: GuestSampler
  /** Whether the guest executes. */
  runs(): boolean
  changed(): void
}

/** One timer for all guests, set for the next that is due. */
export class SamplerClock {
  readonly #guests = new Set<Sampled>()
  readonly #monotonicMs: () => number
  #watched = false
  #timer: NodeJS.Timeout | undefined
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs
  }

  add(guest: Sampled): void {
    this.#guests.add(guest)
    const now = this.#monotonicMs()
    // The first sample soon, as a baseline for rates.
    guest.sampler.nextAtMs = onSlot(now + WATCHED_MS)
    this.#schedule()
  }

  remove(guest: Sampled): void {
    this.#guests.delete(guest)
    guest.sampler.close()
  }

  setWatched(watched: boolean): void {
    if (this.#watched === watched) return
    this.#watched = watched
    if (watched) {
      const soon = this.#monotonicMs() + WATCHED_MS
      for (const { sampler } of this.#guests) sampler.nextAtMs = Math.min(sampler.nextAtMs, soon)
      this.#schedule()
    }
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#timerAtMs = Number.POSITIVE_INFINITY
    for (const { sampler } of this.#guests) sampler.close()
    this.#guests.clear()
  }

  #schedule(): void {
    let next = Number.POSITIVE_INFINITY
    for (const { sampler } of this.#guests) next = Math.min(next, sampler.nextAtMs)
    if (next === Number.POSITIVE_INFINITY || (this.#timer && this.#timerAtMs <= next)) return
    clearTimeout(this.#timer)
    this.#timerAtMs = next
    this.#timer = setTimeout(() => this.#tick(), Math.max(BATCH_PAUSE_MS, next - this.#monotonicMs())).unref()
  }

  #tick(): void {
    this.#timer = undefined
    this.#timerAtMs = Number.POSITIVE_INFINITY
    const now = this.#monotonicMs()
    let room = BATCH_MAX
    for (const guest of this.#guests) {
      const { sampler } = guest
      if (room === 0) break
      if (sampler.nextAtMs > now + SLOT_MS / 2) continue
      room -= 1
      const runs = guest.runs()
      sampler.nextAtMs = onSlot(now + sampler.intervalMs(this.#watched, runs))
      void sampler.sample(now, this.#watched, runs).then((changed) => {
        if (changed && this.#guests.has(guest)) guest.changed()
      })
    }
    this.#schedule()
  }
}
