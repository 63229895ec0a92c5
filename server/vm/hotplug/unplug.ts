/**
 * Taking a device out of a running guest: it is asked, and what it does about it is waited for. QEMU's answer to
 * `device_del` only says that the guest was asked (qapi/qdev.json); the device has gone with its DEVICE_DELETED.
 */
import * as z from 'zod'
import { QmpCommandError, QmpTimeoutError } from '#server/qmp/errors.ts'
import type { QmpEvent } from '#server/qmp/types.ts'
import type { Guest } from '../guest.ts'
import { ask } from './ask.ts'
import type { PlugPart } from './qmp-of-option.ts'

export type UnplugOutcome =
  | { readonly kind: 'gone' }
  /** The guest holds on to it: it has not reacted (null), or refused in these words. */
  | { readonly kind: 'held'; readonly words: string | null }

const WATCHED = ['DEVICE_DELETED', 'DEVICE_UNPLUG_GUEST_ERROR', 'MEM_UNPLUG_ERROR', 'ACPI_DEVICE_OST'] as const

const Ost = z.object({ info: z.object({ device: z.string().optional(), source: z.number(), status: z.number() }) })
const Peripherals = z.array(z.object({ name: z.string(), type: z.string() }))

/** Ejection requests by the host and by the guest's own hand (ACPI 6.3, table 6-32). */
const EJECT_SOURCES: ReadonlySet<number> = new Set([0x3, 0x103])

/** Ids of the devices of this QEMU that have one. @throws QmpError */
export async function readPeripherals(guest: Guest): Promise<Set<string>> {
  const listed = Peripherals.parse(await ask(guest, 'qom-list', { path: '/machine/peripheral' }))
  return new Set(listed.filter(({ type }) => type.startsWith('child<')).map(({ name }) => name))
}

/** What an event says about the device's leaving; null when it says nothing. */
export function verdictOf(event: QmpEvent, deviceId: string): UnplugOutcome | null {
  switch (event.event) {
    case 'DEVICE_DELETED':
      return event.data.device === deviceId ? { kind: 'gone' } : null
    case 'DEVICE_UNPLUG_GUEST_ERROR':
    case 'MEM_UNPLUG_ERROR':
      return event.data.device === deviceId
        ? { kind: 'held', words: `The guest refused to let go of “${deviceId}”.` }
        : null
    case 'ACPI_DEVICE_OST': {
      const { success, data } = Ost.safeParse(event.data)
      if (!success || data.info.device !== deviceId || !EJECT_SOURCES.has(data.info.source)) return null
      // 0x84: in progress.
      if (data.info.status === 0 || data.info.status === 0x84) return null
      return {
        kind: 'held',
        words: `The guest refused to let go of “${deviceId}” (ACPI status ${data.info.status}); it is in use there.`,
      }
    }
    default:
      return null
  }
}

/**
 * Asks the guest to release a device and waits for it. A device that is not there has gone.
 * @throws QmpError; the signal's reason
 */
export async function unplugDevice(
  guest: Guest,
  deviceId: string,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<UnplugOutcome> {
  const { qmp } = guest
  if (qmp === null) throw new QmpTimeoutError('device_del', 0)
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  await using events = qmp.events(WATCHED)
  try {
    await ask(guest, 'device_del', { id: deviceId }, options.signal)
  } catch (error) {
    if (!(error instanceof QmpCommandError)) throw error
    if (error.class === 'DeviceNotFound') return { kind: 'gone' }
    // Asked before; the guest may still answer (hw/core/qdev-hotplug.c, qdev-monitor.c).
    if (!/already in the process of unplug|pending/i.test(error.desc)) throw error
  }
  let verdict: UnplugOutcome | null = null
  try {
    await events.waitFor(
      (event) => {
        verdict = verdictOf(event, deviceId)
        return verdict !== null
      },
      { timeoutMs: options.timeoutMs, ...signal },
    )
  } catch (error) {
    if (!(error instanceof QmpTimeoutError)) throw error
  }
  if (verdict !== null) return verdict
  // The word of its leaving may have come before we listened.
  return (await readPeripherals(guest)).has(deviceId) ? { kind: 'held', words: null } : { kind: 'gone' }
}

const Nodes = z.array(z.object({ 'node-name': z.string().default('') }))

/**
 * Layers that snapshots have put over a drive since it was opened: each stands on the one before, so the last goes
 * first. Their names are `snapshots/live.ts`'s. What is still in use stays.
 */
async function removeOverlays(guest: Guest, node: string): Promise<void> {
  const prefix = `${node.split('.', 1)[0]?.slice(0, 20)}.s`
  for (;;) {
    let listed: z.output<typeof Nodes>
    try {
      listed = Nodes.parse(await ask(guest, 'query-named-block-nodes', { flat: true }))
    } catch (error) {
      // The device has gone already: a layer left behind keeps nothing from working.
      if (error instanceof QmpCommandError) return
      throw error
    }
    const names = listed
      .map((one) => one['node-name'])
      .filter((name) => name.startsWith(prefix) && /^[0-9a-f]{8}$/.test(name.slice(prefix.length)))
    let gone = 0
    for (const name of names) {
      try {
        await ask(guest, 'blockdev-del', { 'node-name': name })
        gone += 1
      } catch (error) {
        if (!(error instanceof QmpCommandError)) throw error
      }
    }
    if (gone === 0) return
  }
}

/** QEMU lets go of a back end a moment after its device has gone: the last reference falls in another thread. */
const BACKEND_TRIES = 20
const BACKEND_PAUSE_MS = 50

/**
 * Removes what stood behind a device, last first. What has gone already is fine.
 * @returns what QEMU would not let go of, in its words; that keeps nothing from working
 * @throws QmpError when QEMU does not answer
 */
export async function removeBackends(guest: Guest, parts: readonly PlugPart[]): Promise<string[]> {
  const kept: string[] = []
  for (const part of parts.toReversed()) {
    if (part.kind === 'device') continue
    if (part.remove.execute === 'blockdev-del') await removeOverlays(guest, part.id)
    for (let tries = 1; ; tries += 1) {
      try {
        await ask(guest, part.remove.execute, part.remove.arguments)
        break
      } catch (error) {
        if (!(error instanceof QmpCommandError)) throw error
        if (/not found|Failed to find|does not exist|no such|not a netdev/i.test(error.desc)) break
        if (tries >= BACKEND_TRIES || !/in use|busy|is used/i.test(error.desc)) {
          kept.push(`${part.id}: ${error.desc}`)
          break
        }
        await new Promise((resolve) => setTimeout(resolve, BACKEND_PAUSE_MS))
      }
    }
  }
  return kept
}
