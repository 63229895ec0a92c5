/**
 * kill -9 of the dashboard at named points of a restore: a restored disk is the old one or the new one, a new
 * VM is there whole or not at all.
 */

import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { Dashboard, expectContent, fileOf } from '#server/testing/dashboard.ts'
import { dir } from '#server/testing/process-rig.ts'

const DEVICES = ['a', 'b']

async function makeSource(deck: Dashboard) {
  const { id } = await deck.ask<Vm>('POST', '/vms', {
    ...{ name: 'source', memoryMiB: 32, accelerator: 'tcg', firmware: 'bios', display: 'none', networks: [] },
    disks: DEVICES.map((device) => ({ id: device, device: 'disk', sizeGiB: 1 })),
  })
  for (const device of DEVICES) execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 1M 1M', fileOf(id, device)])
  const names = async () => (await deck.items<Vm>('/vms')).map(({ name }) => name).sort()
  return {
    id,
    names,
    idOf: async (name: string) => (await deck.items<Vm>('/vms')).find((vm) => vm.name === name)?.id ?? name,
    /** Directories of VMs, and files among the layers. */
    files: () => [readdirSync(join(dir, 'd/vms')).length, readdirSync(join(dir, 'd/layers')).length],
  }
}

test('a restore that is interrupted leaves the old disks or the new ones, and no half of a VM (F10, F49)', async () => {
  using deck = await Dashboard.start()
  const source = await makeSource(deck)
  const backup = await deck.done('POST', `/vms/${source.id}/backups`, { freeze: false, compression: 'none' })
  const fill = () => {
    for (const device of DEVICES)
      execFileSync('qemu-io', [
        '-f',
        'qcow2',
        '-c',
        'write -P 2 1M 1M',
        '-c',
        'write -P 2 2M 1M',
        fileOf(source.id, device),
      ])
  }
  fill()
  const restore = (input: object) => deck.ask<Job>('POST', `/backups/${backup}/restore`, input)
  for (const at of ['^run qemu-system', '^\\+ volume']) {
    await deck.dieAt({ at }, () => restore({ as: 'in-place' }))
    expectContent(source.id, DEVICES, [2, 2])
    expect(source.files()).toEqual([1, 0])
  }
  await deck.dieAt({ at: '^= volume' }, () => restore({ as: 'in-place' }))
  expectContent(source.id, DEVICES, [1, 0])
  fill()
  for (const at of ['^= vm ', '^\\+ volume', '^run qemu-system']) {
    await deck.dieAt({ at }, () => restore({ as: 'new', name: 'half' }))
    expect(await source.names()).toEqual(['source'])
  }
  expect((await deck.end(await restore({ as: 'new', name: 'whole' }))).state).toBe('done')
  expectContent(await source.idOf('whole'), DEVICES, [1, 0])
  expectContent(source.id, DEVICES, [2, 2])
}, 600_000)
