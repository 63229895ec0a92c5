/** With many guests at once: `list-500`, `event`, `idle-20`, `metrics-20`, `memory-20`, `adopt-100`. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { EVENTS_PATH } from '#lib/api/contract.ts'
import type { DeckEvent } from '#lib/schema/event.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { Deck } from '../support/deck.ts'
import type { Libvirt } from '../support/libvirt.ts'
import { cpuSeconds, residentBytes } from '../support/proc.ts'
import { interleave, median, type Row, round, row, timed } from '../support/stats.ts'

const RUNNING = 20
const DEFINED = 500
const SMALL = { memoryMiB: 32, accelerator: 'tcg' }

export interface Fleet {
  readonly running: Vm[]
}

/** 500 defined VMs of which 20 are paused, on both sides. */
export async function makeFleet(deck: Deck, libvirt: Libvirt | null): Promise<Fleet> {
  const running: Vm[] = []
  const existing = (await deck.call<{ items: Vm[] }>('GET', '/vms')).items.length
  for (let n = existing; n < DEFINED; n++) {
    const vm = await deck.create(`fleet ${n}`, SMALL)
    if (running.length < RUNNING) running.push(vm)
  }
  for (const vm of running) {
    await deck.call('POST', `/vms/${vm.id}/start`)
    await deck.call('POST', `/vms/${vm.id}/pause`)
  }
  if (libvirt) {
    for (let n = 0; n < DEFINED; n++) await libvirt.define(`gd-f${n}`, { memoryMiB: 32, devices: true })
    for (let n = 0; n < RUNNING; n++) await libvirt.virsh('start', '--paused', `gd-f${n}`)
  }
  return { running }
}

export async function listRows(deck: Deck, libvirt: Libvirt | null): Promise<Row[]> {
  const samples = await interleave(15, {
    ours: () => timed(() => deck.fetchBytes('/vms')),
    virsh: () => (libvirt ? timed(() => libvirt.virsh('list', '--all')) : Promise.resolve(Number.NaN)),
    libvirt: async () => (libvirt ? (await libvirt.call('list')).ms : Number.NaN),
  })
  if (!libvirt) return []
  return [
    row('list-500', 'ms', samples.ours, 'virsh', samples.virsh),
    row('list-500', 'ms', samples.ours, 'libvirt', samples.libvirt),
  ]
}

/** The moment something is seen, waited for by predicate. */
class Sightings {
  readonly #waiting: { match: (text: string) => boolean; resolve: (at: number) => void }[] = []
  see(text: string): void {
    const at = performance.now()
    const index = this.#waiting.findIndex((entry) => entry.match(text))
    if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(at)
  }
  next(match: (text: string) => boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ match, resolve })
      setTimeout(() => reject(new Error('an expected event did not arrive within 5 s')), 5000).unref()
    })
  }
}

/**
 * QMP event to reader, in this process for all: our event socket and a bare QMP reader (the rescue monitor)
 * watch the same guest; `virsh event` watches a guest of libvirt's. Timed from the moment the command is written.
 */
export async function eventRows(deck: Deck, libvirt: Libvirt | null, fleet: Fleet): Promise<Row[]> {
  const vm = fleet.running[0]
  if (!vm) throw new Error('no running VM')
  const ours = new Sightings()
  const socket = new WebSocket(`${deck.base.replace('http', 'ws')}${EVENTS_PATH}`, {
    headers: { authorization: `Bearer ${deck.token}` },
  })
  socket.on('message', (data: Buffer) => {
    const event = JSON.parse(data.toString()) as DeckEvent
    const state = (event.object as { state?: string } | undefined)?.state
    ours.see(`${event.kind} ${event.id} ${state}`)
  })
  await once(socket, 'open')

  const raw = new Sightings()
  const monitor = connect(join(deck.runDir, vm.id, 'qmp2.sock'))
  let text = ''
  monitor.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    for (let cut = text.indexOf('\n'); cut >= 0; cut = text.indexOf('\n')) {
      raw.see(text.slice(0, cut))
      text = text.slice(cut + 1)
    }
  })
  await once(monitor, 'connect')
  await raw.next((line) => line.includes('"QMP"'))
  monitor.write('{"execute":"qmp_capabilities"}\n')
  await raw.next((line) => line.includes('"return"'))

  const virshSeen = new Sightings()
  const watcher = libvirt
    ? spawn('stdbuf', ['-oL', 'virsh', '-q', '-c', 'qemu:///system', 'event', 'gd-f0', 'lifecycle', '--loop'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
    : null
  if (watcher) createInterface({ input: watcher.stdout }).on('line', (line) => virshSeen.see(line))
  await sleep(1000)

  const samples = { ours: [] as number[], raw: [] as number[], virsh: [] as number[] }
  for (let round_ = -1; round_ < 30; round_++) {
    for (const [command, state, event] of [
      ['cont', 'running', 'RESUME'],
      ['stop', 'paused', 'STOP'],
    ] as const) {
      const seenOurs = ours.next((line) => line === `change ${vm.id} ${state}`)
      const seenRaw = raw.next((line) => line.includes(`"event": "${event}"`))
      const before = performance.now()
      monitor.write(`{"execute":"${command}"}\n`)
      const [a, b] = await Promise.all([seenOurs, seenRaw])
      if (round_ >= 0) {
        samples.ours.push(a - before)
        samples.raw.push(b - before)
      }
      if (libvirt) {
        const seen = virshSeen.next((line) => line.includes(command === 'cont' ? 'Resumed' : 'Suspended'))
        // The open connection's own command: a virsh process would bill its start-up to the event.
        const start = performance.now()
        await libvirt.call(`${command === 'cont' ? 'resume' : 'suspend'} gd-f0`)
        const at = await seen
        if (round_ >= 0) samples.virsh.push(at - start)
      }
      await sleep(20)
    }
  }
  socket.close()
  monitor.destroy()
  watcher?.kill()
  const rows = [row('event', 'ms', samples.ours, 'raw-qmp', samples.raw)]
  if (libvirt) rows.push(row('event', 'ms', samples.ours, 'virsh', samples.virsh))
  return rows
}

/** CPU of the control plane alone, seconds a minute. libvirtd is polled once a second for the numbers we show. */
export async function cpuRows(deck: Deck, libvirt: Libvirt | null): Promise<Row[]> {
  const window = 10_000
  const perMinute = (seconds: number) => (seconds * 60_000) / window
  const during = async (pid: number, work: () => Promise<unknown>) => {
    const before = cpuSeconds(pid)
    const end = performance.now() + window
    while (performance.now() < end) {
      const tick = performance.now()
      await work()
      await sleep(Math.max(0, Math.min(1000 - (performance.now() - tick), end - performance.now())))
    }
    return perMinute(cpuSeconds(pid) - before)
  }
  if (!libvirt) return []
  const idle = await interleave(3, {
    ours: () => during(deck.pid, async () => undefined),
    libvirtd: () => during(libvirt.pid, () => libvirt.virsh('domstats', '--list-active')),
  })
  // A reader of live numbers: an open event socket, as every page has, makes the sampler run at its full rate and
  // brings each change. Paused guests change little, so less is sent than `domstats` prints.
  const socket = new WebSocket(`${deck.base.replace('http', 'ws')}${EVENTS_PATH}`, {
    headers: { authorization: `Bearer ${deck.token}` },
  })
  await once(socket, 'open')
  const metrics = await interleave(3, {
    ours: () => during(deck.pid, async () => undefined),
    libvirtd: () => during(libvirt.pid, () => libvirt.virsh('domstats', '--list-active')),
  })
  socket.close()
  return [
    row('idle-20', 'cpu-s/min', idle.ours, 'libvirtd', idle.libvirtd),
    row('metrics-20', 'cpu-s/min', metrics.ours, 'libvirtd', metrics.libvirtd),
    {
      name: 'memory-20',
      ours: round(residentBytes(deck.pid) / 1e6),
      peer: round(residentBytes(libvirt.pid) / 1e6),
      peerName: 'libvirtd',
      ratio: round(residentBytes(deck.pid) / residentBytes(libvirt.pid)),
      unit: 'MB resident',
      n: 1,
    },
  ]
}

/** From `kill -9` and a fresh process to 100 guests adopted; the peer only connects to their monitors. */
export async function adoptRows(deck: Deck, fleet: Fleet): Promise<Row[]> {
  const all = (await deck.call<{ items: Vm[] }>('GET', '/vms')).items.filter((vm) => vm.state === 'off')
  const running = [...fleet.running]
  for (const vm of all) {
    if (running.length >= 100) break
    await deck.call('POST', `/vms/${vm.id}/start`)
    await deck.call('POST', `/vms/${vm.id}/pause`)
    running.push(vm)
  }
  const ours: number[] = []
  const raw: number[] = []
  for (let n = 0; n < 7; n++) {
    raw.push(
      await timed(() =>
        Promise.all(
          running.map(async (vm) => {
            const monitor = connect(join(deck.runDir, vm.id, 'qmp2.sock'))
            await once(monitor, 'data')
            monitor.write('{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n')
            await once(monitor, 'data')
            monitor.destroy()
          }),
        ),
      ),
    )
    const before = performance.now()
    await deck.killAndRestart()
    for (;;) {
      const items = (await deck.call<{ items: Vm[] }>('GET', '/vms')).items
      const back = new Set(items.filter((vm) => vm.state === 'paused').map((vm) => vm.id))
      if (running.every((vm) => back.has(vm.id))) break
      await sleep(10)
    }
    ours.push(performance.now() - before)
  }
  console.error(`adopt-100: ${round(median(ours))} ms with the process start, ${running.length} guests`)
  return [row('adopt-100', 'ms', ours, 'raw-qmp', raw)]
}
