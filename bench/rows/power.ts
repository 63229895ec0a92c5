/** `start`, `stop`, `start-20-parallel`. */
import { join } from 'node:path'
import { bareCommand, spawnBare } from '../support/bare.ts'
import type { Deck } from '../support/deck.ts'
import type { Libvirt } from '../support/libvirt.ts'
import { interleave, type Row, row, timed } from '../support/stats.ts'

const ROUNDS = 9
const PARALLEL = 20
const SPEC = { memoryMiB: 256, accelerator: 'tcg' }

export async function powerRows(deck: Deck, libvirt: Libvirt | null, scratch: string): Promise<Row[]> {
  const vm = await deck.create('bench start', SPEC)
  const bare = await bareCommand(deck, vm.id, join(scratch, 'b'))
  await libvirt?.define('gd-start', { memoryMiB: 256, devices: true })
  const stops = { ours: [] as number[], virsh: [] as number[] }
  const samples = await interleave(ROUNDS, {
    bare: async () => {
      const before = performance.now()
      const guest = await spawnBare(bare)
      const ms = performance.now() - before
      await guest.quit()
      return ms
    },
    ours: async () => {
      const ms = await timed(() => deck.call('POST', `/vms/${vm.id}/start`))
      stops.ours.push(await timed(() => deck.call('POST', `/vms/${vm.id}/poweroff`)))
      return ms
    },
    virsh: async () => {
      if (!libvirt) return Number.NaN
      const ms = await timed(() => libvirt.virsh('start', 'gd-start'))
      stops.virsh.push(await timed(() => libvirt.virsh('destroy', 'gd-start')))
      return ms
    },
  })
  const rows = [row('start', 'ms', samples.ours, 'bare', samples.bare)]
  if (libvirt) {
    rows.push(row('start', 'ms', samples.ours, 'virsh', samples.virsh))
    rows.push(row('stop', 'ms', stops.ours.slice(1), 'virsh', stops.virsh.slice(1)))
  }
  return [...rows, ...(await parallelRows(deck, libvirt, scratch))]
}

async function parallelRows(deck: Deck, libvirt: Libvirt | null, scratch: string): Promise<Row[]> {
  const numbers = Array.from({ length: PARALLEL }, (_, index) => index)
  const vms = await Promise.all(numbers.map((n) => deck.create(`bench parallel ${n}`, SPEC)))
  const bares = await Promise.all(vms.map((vm) => bareCommand(deck, vm.id, join(scratch, 'p'))))
  for (const n of numbers) await libvirt?.define(`gd-p${n}`, { memoryMiB: 256, devices: true })
  const samples = await interleave(7, {
    bare: async () => {
      const before = performance.now()
      const guests = await Promise.all(bares.map(spawnBare))
      const ms = performance.now() - before
      await Promise.all(guests.map((guest) => guest.quit()))
      return ms
    },
    ours: async () => {
      const ms = await timed(() => Promise.all(vms.map((vm) => deck.call('POST', `/vms/${vm.id}/start`))))
      await Promise.all(vms.map((vm) => deck.call('POST', `/vms/${vm.id}/poweroff`)))
      return ms
    },
    virsh: async () => {
      if (!libvirt) return Number.NaN
      const ms = await timed(() => Promise.all(numbers.map((n) => libvirt.virsh('start', `gd-p${n}`))))
      await Promise.all(numbers.map((n) => libvirt.virsh('destroy', `gd-p${n}`)))
      return ms
    },
  })
  const rows = [row('start-20-parallel', 'ms', samples.ours, 'bare', samples.bare)]
  if (libvirt) rows.push(row('start-20-parallel', 'ms', samples.ours, 'virsh', samples.virsh))
  for (const vm of vms) await deck.call('DELETE', `/vms/${vm.id}`)
  for (const n of numbers) await libvirt?.virsh('undefine', `gd-p${n}`)
  return rows
}
