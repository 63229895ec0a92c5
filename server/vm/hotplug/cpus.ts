/**
 * CPUs of a running guest (QEMU docs, "cpu-hotplug"; qapi/machine.json). What is plugged is read from
 * `query-hotpluggable-cpus` alone: an unplugged CPU has no DEVICE_DELETED of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
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
export async function readCpuSlots(guest: Guest): Promise<CpuSlot[]> {
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

/** Plugs CPUs into the lowest free sockets until there are `wanted`. @throws QmpError */
export async function plugCpus(guest: Guest, wanted: number, signal?: AbortSignal): Promise<void> {
  const slots = await readCpuSlots(guest)
  const free = slots.filter((slot) => slot.qomPath === null)
  const missing = wanted - (slots.length - free.length)
  for (const slot of free.slice(0, Math.max(0, missing))) {
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
