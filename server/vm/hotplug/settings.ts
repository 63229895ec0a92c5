/** What changes without a device coming or going. Each may be repeated: it sets, whatever was there before. */
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { LiveStep } from '#lib/vm/live-types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import { throttleLimits } from '#server/spec/devices/throttle.ts'
import { netdevId, QEMU_IDS, throttleGroupId } from '#server/spec/ids.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import type { Guest } from '../guest.ts'
import { ask } from './ask.ts'
import { partsOf } from './plan-change.ts'
import type { HostSide } from './types.ts'
import { removeBackends } from './unplug.ts'

type Step<K extends LiveStep['kind']> = Extract<LiveStep, { kind: K }>

const MIB = 2 ** 20
const GIB = 2 ** 30
const peripheral = (id: string) => `/machine/peripheral/${id}`

async function setLink(guest: Guest, { id, link }: Step<'link'>): Promise<void> {
  await ask(guest, 'set_link', { name: id, up: link })
}

/** hmp-commands.hx: hostfwd_add and hostfwd_remove; QMP has no such commands. Numbers alone reach the monitor's parser. */
function forwardRule({ protocol, hostPort }: Step<'forwards'>['forwards'][number]): string {
  return `${protocol === 'udp' ? 'udp' : 'tcp'}:127.0.0.1:${Math.trunc(hostPort)}`
}

async function setForwards(guest: Guest, { id, before, forwards }: Step<'forwards'>): Promise<void> {
  const key = (forward: (typeof forwards)[number]) => `${forwardRule(forward)}-:${Math.trunc(forward.guestPort)}`
  const wanted = new Set(forwards.map(key))
  const present = new Set(before.map(key))
  const run = async (commandLine: string): Promise<string> => {
    const answer = await ask(guest, 'human-monitor-command', { 'command-line': commandLine })
    return typeof answer === 'string' ? answer.trim() : ''
  }
  // One that fails does not keep the others: taking a change back goes through here as well.
  let fault: EngineError | null = null
  for (const forward of before) {
    if (wanted.has(key(forward))) continue
    const answer = await run(`hostfwd_remove ${netdevId(id)} ${forwardRule(forward)}`)
    // "… removed", or "… not found" when it went before.
    if (/removed|not found/.test(answer)) continue
    fault ??= new EngineError('conflict', `The forward of host port ${forward.hostPort} could not be taken away.`, {
      details: { qemu: answer.slice(0, 200) },
    })
  }
  for (const forward of forwards) {
    if (present.has(key(forward))) continue
    const answer = await run(`hostfwd_add ${netdevId(id)} ${key(forward)}`)
    // Silence is success.
    if (answer === '') continue
    fault ??= new EngineError(
      'port_in_use',
      `Host port ${forward.protocol} ${forward.hostPort} could not be forwarded: another program on the host has it.`,
      { details: { qemu: answer.slice(0, 200) } },
    )
  }
  if (fault !== null) throw fault
}

const Blocks = z.array(
  z.object({ qdev: z.string().optional(), inserted: z.object({ 'node-name': z.string().optional() }).optional() }),
)

/** What QEMU has behind a device, whatever node that is by now. @throws QmpError */
async function blockOf(guest: Guest, id: string): Promise<z.output<typeof Blocks>[number] | undefined> {
  const blocks = Blocks.parse(await ask(guest, 'query-block'))
  return blocks.find(({ qdev }) => qdev === id || qdev === peripheral(id) || qdev?.startsWith(`${peripheral(id)}/`))
}

/** Limits are set where the disk is attached, which for virtio, USB and NVMe is inside the device. @throws QmpError */
const backendPath = async (guest: Guest, id: string): Promise<string> => (await blockOf(guest, id))?.qdev ?? id

export const hasThrottleGroup = (plan: LaunchPlan, id: string): boolean =>
  partsOf(plan.options, id).some((part) => part.kind === 'object' && part.id === throttleGroupId(id))

/**
 * A disk with limits from its start has them in a throttle group; one without gets them at its device (qapi/block-core.json).
 * @param plan of what runs @throws QmpError
 */
async function setThrottle(guest: Guest, { id, throttle }: Step<'throttle'>, plan: LaunchPlan): Promise<void> {
  const limits = throttleLimits(
    throttle ?? {
      bytesPerSecond: 0,
      readBytesPerSecond: 0,
      writeBytesPerSecond: 0,
      iops: 0,
      readIops: 0,
      writeIops: 0,
      bytesPerSecondMax: 0,
      iopsMax: 0,
      burstSeconds: 1,
    },
  )
  if (hasThrottleGroup(plan, id)) {
    await ask(guest, 'qom-set', { path: `/objects/${throttleGroupId(id)}`, property: 'limits', value: limits })
    return
  }
  const args: { [key: string]: number | string } = { id: await backendPath(guest, id) }
  for (const unit of ['bps', 'iops'] as const) {
    for (const [kind, suffix] of [
      ['total', ''],
      ['read', '_rd'],
      ['write', '_wr'],
    ] as const) {
      args[`${unit}${suffix}`] = limits[`${unit}-${kind}`] ?? 0
      const max = limits[`${unit}-${kind}-max`] ?? 0
      // A burst without a limit is refused.
      if (max === 0) continue
      args[`${unit}${suffix}_max`] = max
      args[`${unit}${suffix}_max_length`] = limits[`${unit}-${kind}-max-length`] ?? 1
    }
  }
  await ask(guest, 'block_set_io_throttle', args)
}

/** Positions are unique in QEMU, so all that change are given up before any is taken. @throws QmpError */
async function setBootOrder(guest: Guest, { positions }: Step<'boot-order'>): Promise<void> {
  const set = (id: string, value: number) =>
    ask(guest, 'qom-set', { path: peripheral(id), property: 'bootindex', value })
  for (const { id } of positions) await set(id, -1)
  for (const { id, bootIndex } of positions) if (bootIndex !== null) await set(id, bootIndex)
}

/** The node the device itself has, so that filters above the file pass the news on to the guest. @throws QmpError */
async function growDisk(guest: Guest, { id, sizeGiB }: Step<'resize'>): Promise<void> {
  const node = (await blockOf(guest, id))?.inserted?.['node-name']
  if (node === undefined) throw new EngineError('conflict', `The running guest has no disk “${id}”.`)
  await ask(guest, 'block_resize', { 'node-name': node, size: sizeGiB * GIB })
}

async function setWatchdog(guest: Guest, { action }: Step<'watchdog'>): Promise<void> {
  await ask(guest, 'watchdog-set-action', { action })
}

const Memory = z.object({ 'base-memory': z.coerce.number(), 'plugged-memory': z.coerce.number().optional() })

async function setBalloon(guest: Guest, { targetMiB }: Step<'balloon'>): Promise<void> {
  let value = targetMiB === null ? null : targetMiB * MIB
  if (value === null) {
    const memory = Memory.parse(await ask(guest, 'query-memory-size-summary'))
    value = memory['base-memory'] + (memory['plugged-memory'] ?? 0)
  }
  await ask(guest, 'balloon', { value })
}

async function setVirtioMem(guest: Guest, { requestedMiB }: Step<'virtio-mem'>): Promise<void> {
  await ask(guest, 'qom-set', {
    path: peripheral(QEMU_IDS.virtioMem),
    property: 'requested-size',
    value: requestedMiB * MIB,
  })
}

const TRAY_TRIES = 12
const TRAY_PAUSE_MS = 250

/**
 * Exchanges the medium of a CD drive, or takes it out. A guest that has locked the drive is asked to open it; QEMU sends
 * it the request (qapi/block.json, `blockdev-open-tray` without force).
 * @returns null when done, or why the guest did not give the medium back
 * @throws QmpError
 */
async function changeMedium(
  guest: Guest,
  { id }: Step<'medium'>,
  before: LaunchPlan,
  after: LaunchPlan,
): Promise<string | null> {
  const [old, fresh] = [before, after].map((plan) =>
    partsOf(plan.options, id).filter((part) => part.kind === 'blockdev' || part.kind === 'object'),
  )
  for (let tries = 1; ; tries += 1) {
    try {
      await ask(guest, 'blockdev-open-tray', { id, force: false })
      // An open tray gives its medium back; a guest that was only asked still holds it.
      await ask(guest, 'blockdev-remove-medium', { id })
      break
    } catch (error) {
      if (!(error instanceof QmpCommandError) || !/locked|tray.*not open|is closed/i.test(error.desc)) throw error
      if (tries >= TRAY_TRIES)
        return `The guest has locked the drive “${id}”: unmount or eject the medium there, then repeat the change.`
      await sleep(TRAY_PAUSE_MS)
    }
  }
  await removeBackends(guest, old ?? [])
  try {
    await insert(guest, id, fresh ?? [])
    await ask(guest, 'blockdev-close-tray', { id })
  } catch (error) {
    // The old one goes back in; the error that led here is the one to tell.
    const quietly = async (work: Promise<unknown>) => void (await work.catch(() => null))
    await quietly(ask(guest, 'blockdev-remove-medium', { id }))
    await quietly(removeBackends(guest, fresh ?? []))
    await quietly(insert(guest, id, old ?? []))
    await quietly(ask(guest, 'blockdev-close-tray', { id }))
    throw error
  }
  return null
}

async function insert(guest: Guest, id: string, parts: ReturnType<typeof partsOf>): Promise<void> {
  for (const part of parts) await ask(guest, part.add.execute, part.add.arguments)
  const node = parts.findLast((part) => part.kind === 'blockdev')
  if (node !== undefined) await ask(guest, 'blockdev-insert-medium', { id, 'node-name': node.id })
}

/** Steps that bring or take no device. */
export type SettingStep = Step<
  | 'link'
  | 'rate-limit'
  | 'forwards'
  | 'throttle'
  | 'boot-order'
  | 'watchdog'
  | 'balloon'
  | 'virtio-mem'
  | 'medium'
  | 'resize'
>

export const isSetting = (step: LiveStep): step is SettingStep =>
  !['note', 'plug', 'unplug', 'cpus'].includes(step.kind)

/**
 * @param before plan of what runs @param after plan of a start with the step made; asked for when a medium changes
 * @returns null when done, or why the guest did not let go of what it has
 * @throws QmpError; EngineError
 */
export async function applySetting(
  { guest, host }: { readonly guest: Guest; readonly host: HostSide },
  step: SettingStep,
  before: LaunchPlan,
  after: () => LaunchPlan,
): Promise<string | null> {
  switch (step.kind) {
    case 'medium':
      return await changeMedium(guest, step, before, after())
    case 'link':
      await setLink(guest, step)
      return null
    case 'rate-limit':
      for (const tap of before.taps) if (tap.card === step.id) await host.limitTap(tap.name, step.rateLimit)
      return null
    case 'forwards':
      await setForwards(guest, step)
      return null
    case 'throttle':
      await setThrottle(guest, step, before)
      return null
    case 'resize':
      await growDisk(guest, step)
      return null
    case 'boot-order':
      await setBootOrder(guest, step)
      return null
    case 'watchdog':
      await setWatchdog(guest, step)
      return null
    case 'balloon':
      await setBalloon(guest, step)
      return null
    case 'virtio-mem':
      await setVirtioMem(guest, step)
      return null
  }
}
