/**
 * CPUs of a running guest (QEMU docs, "cpu-hotplug"; qapi/machine.json). What is plugged is read from
 * `query-hotpluggable-cpus` alone: an unplugged CPU has no DEVICE_DELETED of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { QmpJson } from '#server/qmp/types.ts'
import type { Guest } from '../guest.ts'
import { ask } from './ask.ts'

const Slots = z.array(
  z.object({ type: z.string(), props: z.record(z.string(), z.json()), 'qom-path': z.string().optional() }),
)

interface CpuSlot {
  /** Its number as the guest counts. */
  readonly index: number
  readonly type: string
  readonly props: { readonly [key: string]: QmpJson }
  /** Null: nothing is plugged in. */
  readonly qomPath: string | null
}

/** Sockets for CPUs, by number. QEMU lists the last one first. @throws QmpError */
async function readCpuSlots(guest: Guest): Promise<CpuSlot[]> {
  return Slots.parse(await ask(guest, 'query-hotpluggable-cpus'))
    .toReversed()
    .map(({ type, props, 'qom-path': qomPath }, index) => ({ index, type, props, qomPath: qomPath ?? null }))
}

/** How many CPUs are plugged in. @throws QmpError */
export async function countCpus(guest: Guest): Promise<number> {
  return (await readCpuSlots(guest)).filter((slot) => slot.qomPath !== null).length
}

/** Ids of CPUs begin with it; no device of the definition may be called so. */
export const CPU_PREFIX = 'cpu-'
const cpuId = (index: number): string => `${CPU_PREFIX}${index}`

const MIB = 2 ** 20

/**
 * Regions TCG divides its code cache into, of which every CPU takes one at a time (QEMU tcg/region.c, tcg_n_regions).
 * Pure.
 */
export function codeRegions(cacheBytes: number, maxCpus: number): number {
  if (maxCpus === 1) return 1
  const regions = Math.floor(cacheBytes / (2 * MIB))
  return regions <= maxCpus ? maxCpus : Math.min(regions, 8 * maxCpus)
}

/**
 * Under TCG a CPU that is plugged in while every region of the code cache is in use makes QEMU abort
 * (tcg_region_initial_alloc). How full it is says `info jit`; once full, QEMU empties it.
 * @throws EngineError busy when there is no room for `added` more; QmpError
 */
async function assertRoomForCode(guest: Guest, plugged: number, added: number, maxCpus: number): Promise<void> {
  const kind = guest.facts?.accelerator ?? guest.record?.accelerator.kind
  if (kind === 'kvm') return
  const answer = await ask(guest, 'human-monitor-command', { 'command-line': 'info jit' })
  const [, used, size] = /gen code size\s+([\d,]+)\/([\d,]+)/.exec(typeof answer === 'string' ? answer : '') ?? []
  const bytes = (text = '') => Number(text.replaceAll(',', ''))
  const regions = codeRegions(bytes(size), maxCpus)
  // Each CPU has at most one region that it has not filled.
  const taken = Math.ceil((bytes(used) / bytes(size)) * regions) + plugged
  if (taken + added <= regions) return
  throw new EngineError(
    'busy',
    'QEMU has no room for the code of another CPU just now, which it needs under software emulation. Try again in a moment, or change the number while the guest is off.',
  )
}

/** Plugs CPUs into the lowest free sockets until there are `wanted`. @throws QmpError; EngineError busy */
export async function plugCpus(guest: Guest, wanted: number, signal?: AbortSignal): Promise<void> {
  const slots = await readCpuSlots(guest)
  const free = slots.filter((slot) => slot.qomPath === null)
  const plugged = slots.length - free.length
  const missing = Math.max(0, wanted - plugged)
  if (missing > 0) await assertRoomForCode(guest, plugged, missing, slots.length)
  for (const slot of free.slice(0, missing)) {
    await ask(guest, 'device_add', { driver: slot.type, id: cpuId(slot.index), ...slot.props }, signal)
  }
}

const POLL_MS = 100

/**
 * Asks the guest for CPUs, those added last first, until `wanted` are left or time is up. Those from power-on are asked
 * for by their path; the first CPU stays always.
 * @returns ids of what the guest has not released
 * @throws QmpError
 */
export async function unplugCpus(
  guest: Guest,
  wanted: number,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<string[]> {
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const plugged = (await readCpuSlots(guest)).filter((slot) => slot.qomPath !== null)
  const leaving = plugged.slice(Math.max(1, wanted)).toReversed()
  for (const { qomPath } of leaving) {
    try {
      await ask(guest, 'device_del', { id: qomPath }, options.signal)
    } catch (error) {
      if (!(error instanceof QmpCommandError) || !/already in the process of unplug|pending/i.test(error.desc))
        throw error
    }
  }
  const deadline = performance.now() + options.timeoutMs
  for (;;) {
    const paths = new Set((await readCpuSlots(guest)).map((slot) => slot.qomPath))
    const held = leaving.filter(({ qomPath }) => paths.has(qomPath))
    if (held.length === 0 || performance.now() >= deadline) return held.map(({ index }) => cpuId(index))
    await sleep(POLL_MS, null, signal)
  }
}
