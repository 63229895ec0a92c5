/** kill -9 of the dashboard in the middle of a live change: what runs is told truly afterwards, and nothing is lost. */
import { readdirSync, watch } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { VmDevices } from '#lib/schema/vm-devices.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { dir, isRunning, ready, server, token } from '#server/testing/process-rig.ts'

const DISKS = 3

test('a dashboard that is killed between two steps of a change leaves a guest that the next one knows', async () => {
  const authorization = `Bearer ${await token()}`
  let dashboard = server()
  let port = await ready(dashboard)
  const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
      method,
      headers: { authorization, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    expect(answer.ok, `${method} ${path}: ${text}`).toBe(true)
    return (text === '' ? null : JSON.parse(text)) as T
  }

  // The record of the run is written once before the first step, once after each, and once when all is stored.
  for (let writes = 1; writes <= DISKS + 2; writes += 1) {
    const name = `killed${writes}`
    const { id } = await ask<Vm>('POST', '/vms', {
      name,
      memoryMiB: 64,
      accelerator: 'tcg',
      firmware: 'bios',
      disks: [],
    })
    const started = await ask<Vm>('POST', `/vms/${id}/start`)
    const pid = started.live?.pid ?? 0
    try {
      const { child, ended } = dashboard
      let seen = 0
      const watcher = watch(join(dir, 'r', id), (_, file) => {
        if (file !== 'launch.json') return
        seen += 1
        if (seen === writes) child.kill('SIGKILL')
      })
      const disks = Array.from({ length: DISKS }, () => ({ device: 'disk', sizeGiB: 1 }))
      await ask('PATCH', `/vms/${id}`, { disks }).catch(() => {})
      child.kill('SIGKILL')
      await ended
      watcher.close()

      dashboard = server()
      port = await ready(dashboard)
      const of = (items: readonly { id: string | null }[]) =>
        items.flatMap((item) => (item.id !== null && /^disk\d$/.test(item.id) ? [item.id] : [])).sort()
      const plugged = of((await ask<VmDevices>('GET', `/vms/${id}/devices`)).items)
      // Adoption looks at the devices in a turn of its own.
      await expect
        .poll(async () => {
          const { spec, pending } = await ask<Vm>('GET', `/vms/${id}`)
          const coming = pending.filter((change) => change.live === null).map((change) => change.next as { id: string })
          const going = pending.filter((change) => change.next === null).map((change) => change.live as { id: string })
          const wanted = of(spec.disks).filter((disk) => !of(coming).includes(disk))
          return [...wanted, ...of(going)].sort()
        })
        .toEqual(plugged)

      // The change can be finished: with the disks that came before the end, and the rest.
      const kept = plugged.map((disk) => ({ device: 'disk', id: disk, sizeGiB: 1 }))
      const done = await ask<Vm>('PATCH', `/vms/${id}`, { disks: [...kept, ...disks.slice(kept.length)] })
      expect(done.pending).toEqual([])
      expect(done.spec.disks).toHaveLength(DISKS)
      await ask('POST', `/vms/${id}/poweroff`)
      const files = () => readdirSync(join(dir, 'd/vms', id)).filter((file) => /^disk/.test(file))
      await expect.poll(() => files().sort()).toEqual(done.spec.disks.map((disk) => `${disk.id}.qcow2`).sort())
      await ask('DELETE', `/vms/${id}`)
    } finally {
      if (isRunning(pid)) process.kill(pid, 'SIGKILL')
    }
  }
})
