/** kill -9 of the dashboard and of QEMU in backups and restores: afterwards each is whole or absent, and the guest goes on. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Backup } from '#lib/schema/backup.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { dir, isRunning, ready, server, token } from '#server/testing/process-rig.ts'

const MIB = 2 ** 20

test('a dashboard that is killed in a backup or a restore leaves whole ones, and a guest without a trace of it (F09, F10)', async () => {
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
  const kill = async () => {
    dashboard.child.kill('SIGKILL')
    await dashboard.ended
  }
  const again = async () => {
    dashboard = server()
    port = await ready(dashboard)
  }
  const end = async (job: Job): Promise<Job> => {
    let now = job
    await expect
      .poll(
        async () => {
          now = await ask<Job>('GET', `/jobs/${job.id}`)
          return now.endedAt
        },
        { timeout: 60_000 },
      )
      .not.toBeNull()
    return now
  }
  const backUp = async (id: string, options: object = {}) =>
    await end(await ask<Job>('POST', `/vms/${id}/backups`, { freeze: false, compression: 'none', ...options }))
  const list = async () => (await ask<{ items: Backup[] }>('GET', '/backups')).items
  const reached = (job: Job, bytes: number) =>
    expect
      .poll(async () => (await ask<Job>('GET', `/jobs/${job.id}`)).doneBytes ?? 0, { timeout: 60_000 })
      .toBeGreaterThan(bytes)

  const vm = await ask<Vm>('POST', '/vms', {
    ...{ name: 'survivor', memoryMiB: 32, accelerator: 'tcg', firmware: 'bios', networks: [] },
    disks: [{ device: 'disk', sizeGiB: 1 }],
  })
  const disk = join(dir, 'd/vms', vm.id, 'disk0.qcow2')
  const fill = (pattern: number, atMiB: number) =>
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${pattern} ${atMiB}M 24M`, disk])
  fill(1, 0)
  const full = (await backUp(vm.id)).result ?? ''
  fill(2, 100)
  const started = await ask<Vm>('POST', `/vms/${vm.id}/start`)
  const pid = started.live?.pid ?? 0
  const folder = join(dir, 'd/backups', vm.id)
  try {
    // In the copy, which a running QEMU goes on with.
    const slow = { freeze: false, compression: 'none', limitMiBps: 1 }
    const first = await ask<Job>('POST', `/vms/${vm.id}/backups`, slow)
    await reached(first, 0)
    await kill()
    await again()
    expect(isRunning(pid)).toBe(true)
    expect(await ask<Job>('GET', `/jobs/${first.id}`)).toMatchObject({
      state: 'failed',
      error: { code: 'interrupted' },
    })
    expect(readdirSync(folder)).toEqual([full])
    expect((await ask<Vm>('GET', `/vms/${vm.id}`)).state).toBe('running')

    // Between the copy and the moment it becomes a backup.
    const manifest = new Promise<void>((resolve) => {
      const watcher = watch(folder, (_, part) => {
        if (!part?.endsWith('.part')) return
        watcher.close()
        const inner = watch(join(folder, part), (_event, file) => {
          if (file !== 'README.txt') return
          inner.close()
          dashboard.child.kill('SIGKILL')
          resolve()
        })
      })
    })
    await ask<Job>('POST', `/vms/${vm.id}/backups`, { ...slow, limitMiBps: null })
    await manifest
    await dashboard.ended
    await again()
    // The kill and the rename race: it is there whole, or not at all.
    for (const one of await list()) expect(one.problem).toBeNull()
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([])

    // Nothing of what changed since the last whole one was lost.
    const next = await backUp(vm.id)
    expect(next).toMatchObject({ state: 'done' })
    const [newest] = await list()
    expect(newest).toMatchObject({ kind: 'incremental', problem: null })
    const both = (await list()).reduce((sum, one) => sum + (one.changedBytes ?? 0), 0)
    expect(both).toBeGreaterThanOrEqual(24 * MIB)

    // QEMU is killed in the middle: the backup is broken off, and the next one says that it must be whole.
    const doomed = await ask<Job>('POST', `/vms/${vm.id}/backups`, { ...slow, mode: 'full' })
    await reached(doomed, 0)
    process.kill(pid, 'SIGKILL')
    expect(await end(doomed)).toMatchObject({ state: 'failed' })
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([])
    await expect.poll(async () => (await ask<Vm>('GET', `/vms/${vm.id}`)).state, { timeout: 20_000 }).toBe('crashed')
    expect(await backUp(vm.id)).toMatchObject({ state: 'done' })
    expect((await list())[0]).toMatchObject({ kind: 'full' })

    // Restore in place: at each moment the old disk or the new one.
    const hash = () =>
      createHash('sha256')
        .update(
          execFileSync('qemu-img', [
            'dd',
            '-f',
            'qcow2',
            '-O',
            'raw',
            'bs=1M',
            'count=160',
            `if=${disk}`,
            `of=${join(dir, 'raw')}`,
          ]),
        )
        .digest('hex')
    hash()
    const before = createHash('sha256')
      .update(readFileSync(join(dir, 'raw')))
      .digest('hex')
    await ask<Job>('POST', `/backups/${full}/restore`, { as: 'in-place' })
    await kill()
    await again()
    expect((await ask<{ items: Job[] }>('GET', '/jobs')).items[0]?.state).toMatch(/failed|done/)
    if (existsSync(disk)) {
      // The old one: it is whole, and no half of the new one is left.
      hash()
      expect(
        createHash('sha256')
          .update(readFileSync(join(dir, 'raw')))
          .digest('hex'),
      ).toBe(before)
      expect(readdirSync(join(dir, 'd/layers'))).toEqual([])
    }
    expect(await end(await ask<Job>('POST', `/backups/${full}/restore`, { as: 'in-place' }))).toMatchObject({
      state: 'done',
    })
    const [layer] = readdirSync(join(dir, 'd/layers'))
    expect(
      execFileSync(
        'qemu-img',
        ['compare', join(dir, 'd/layers', layer ?? ''), join(folder, full, 'disk-disk0.qcow2')],
        { encoding: 'utf8' },
      ),
    ).toContain('identical')
    expect(existsSync(disk)).toBe(false)

    // As a new VM: it is there whole or not at all.
    await ask<Job>('POST', `/backups/${full}/restore`, { as: 'new', name: 'half' })
    await kill()
    await again()
    const names = (await ask<{ items: Vm[] }>('GET', '/vms')).items.map(({ name }) => name)
    if (names.includes('half')) {
      const half = (await ask<{ items: Vm[] }>('GET', '/vms')).items.find(({ name }) => name === 'half')
      await ask('DELETE', `/vms/${half?.id}`)
    }
    expect(readdirSync(join(dir, 'd/vms'))).toEqual([vm.id])
  } finally {
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
}, 240_000)
