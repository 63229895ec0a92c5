/**
 * A guest that writes the header of another format onto its own raw disk: whatever is done to that disk afterwards, it is
 * a raw disk, and the file the header names is neither read nor written. That file lies beside the disk, open to all, so
 * that nothing but the format given protects it.
 */
import childProcess, { execFileSync } from 'node:child_process'
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BackupOptions } from '#lib/schema/backup.ts'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { VolumeCopy, VolumeInput } from '#lib/schema/storage.ts'
import { ADMIN, create, data, now, shareDir, until, update } from './test-rig.ts'

const CANARY = Buffer.alloc(256 * 1024, 'CANARY-')

/** Every program that was started with a name of a disk file, as it was started. */
const started: string[][] = []
const { spawn } = childProcess
beforeAll(() => {
  // biome-ignore lint/suspicious/noExplicitAny: passes on whatever it was called with
  childProcess.spawn = ((...args: any[]) => {
    if (Array.isArray(args[1])) started.push([String(args[0]), ...args[1].map(String)])
    return spawn(...(args as Parameters<typeof spawn>))
  }) as typeof spawn
  syncBuiltinESMExports()
})
afterAll(() => {
  childProcess.spawn = spawn
  syncBuiltinESMExports()
})

async function done(job: Job): Promise<string> {
  const last = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    180_000,
  )
  if (last.state !== 'done') throw new Error(`${last.title}: ${last.error?.message}`)
  return last.result ?? ''
}
const volumeOf = (vmId: string, device = 'disk0') => {
  const volume = now.store
    .list<{ vm: { id: string; device: string } | null; head: string }>('volume')
    .find(({ value }) => value.vm?.id === vmId && value.vm.device === device)
  const layer = now.store.get<{ file: string; format: string }>('layer', volume?.value.head ?? '')
  return { id: volume?.key ?? '', path: join(data.root, layer?.value.file ?? ''), format: layer?.value.format ?? '' }
}
/** First bytes of a disk as its guest would read them. */
function headOf(path: string, format: string): Buffer {
  const raw = join(shareDir, 'head')
  execFileSync('qemu-img', ['dd', '-U', '-f', format, '-O', 'raw', 'bs=64k', 'count=8', `if=${path}`, `of=${raw}`])
  const bytes = readFileSync(raw)
  rmSync(raw)
  return bytes
}

test.each([
  ['backing file', ['-b', 'victim.raw', '-F', 'raw']],
  ['data file', ['-o', 'data_file=victim.raw,data_file_raw=on']],
])(
  'a raw disk on which the guest wrote a header that names a %s stays raw through all that is done to it (I10)',
  async (_, names) => {
    const victim = join(data.layersDir, 'victim.raw')
    writeFileSync(victim, CANARY)
    chmodSync(victim, 0o666)
    // What the guest writes: made by the real tool, beside the victim, so that the name in it leads there.
    const trap = join(data.layersDir, 'trap.qcow2')
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...names, trap, '1G'], { cwd: data.layersDir })
    writeFileSync(victim, CANARY)
    const header = readFileSync(trap).subarray(0, 64 * 1024)
    rmSync(trap)
    const before = statSync(victim)
    const untouched = (what: string) => {
      const { size, mtimeMs, ino } = statSync(victim)
      expect({ size, mtimeMs, ino }, what).toEqual({ size: before.size, mtimeMs: before.mtimeMs, ino: before.ino })
      expect(readFileSync(victim).equals(CANARY), what).toBe(true)
    }
    /** The disk begins with what the guest wrote, and holds nothing of the victim. */
    const isGuests = (what: string, path: string, format: string) => {
      untouched(what)
      const head = headOf(path, format)
      expect(head.subarray(0, header.length).equals(header), what).toBe(true)
      expect(head.includes('CANARY'), what).toBe(false)
    }

    const { engine } = now
    const made = await engine.volumes.create(ADMIN, VolumeInput.parse({ name: 'raw', sizeGiB: 1, format: 'raw' }))
    const vm = await create(ADMIN, {
      ...{ name: 'evil', memoryMiB: 32, accelerator: 'tcg', display: 'none', networks: [] },
      disks: [{ device: 'disk', volume: made.id }],
    })
    const { id } = vm
    const disk = volumeOf(id)
    expect(disk.format).toBe('raw')
    await engine.vms.start(ADMIN, id)
    // Through the guest's own device.
    const bytes = join(shareDir, 'header')
    writeFileSync(bytes, header, { mode: 0o644 })
    await now.supervisor.work(id, async (guest) => {
      for (const what of [`write -s ${bytes} 0 ${header.length}`, 'flush']) {
        const line = `qemu-io -d /machine/peripheral/disk0/virtio-backend "${what}"`
        expect(await guest.ask('human-monitor-command', { 'command-line': line })).toBe('')
      }
    })
    rmSync(bytes)
    isGuests('written', disk.path, 'raw')
    started.length = 0

    const grow = (sizeGiB: number) => update(ADMIN, id, { disks: [{ ...vm.spec.disks[0], sizeGiB }] })
    const clone = async (input: object) => {
      const job = await engine.clones.clone(ADMIN, id, CloneInput.parse(input))
      const one = volumeOf(await done(job))
      isGuests(JSON.stringify(input), one.path, one.format)
    }
    const backUp = async (name: string) => {
      const options = BackupOptions.parse({ freeze: false, compression: 'none' })
      const backup = await done(await engine.backups.create(ADMIN, id, options))
      const restored = volumeOf(await done(await engine.backups.restore(ADMIN, backup, { as: 'new', name })))
      isGuests(name, restored.path, restored.format)
      await done(await engine.backups.delete(ADMIN, backup, { dependents: 'refuse' }))
    }

    // Running.
    await grow(2)
    isGuests('grown while it runs', disk.path, 'raw')
    await clone({ name: 'live full', kind: 'full' })
    await backUp('live restored')
    const job = await engine.snapshots.create(ADMIN, id, SnapshotInput.parse({ name: 'live', kind: 'disk' }))
    const live = await done(job)
    untouched('snapshot while it runs')
    await engine.vms.poweroff(ADMIN, id)
    isGuests('snapshot, then off', volumeOf(id).path, volumeOf(id).format)
    await engine.vms.start(ADMIN, id)
    await done(await engine.snapshots.delete(ADMIN, id, live))
    isGuests('merged while it runs', volumeOf(id).path, volumeOf(id).format)
    await engine.vms.poweroff(ADMIN, id)

    // Off.
    await grow(3)
    isGuests('grown', disk.path, 'raw')
    expect(statSync(disk.path).size).toBe(3 * 2 ** 30)
    const off = await done(await engine.snapshots.create(ADMIN, id, SnapshotInput.parse({ name: 'off', kind: 'disk' })))
    await done(await engine.snapshots.revert(ADMIN, id, off, SnapshotRevertInput.parse({})))
    await done(await engine.snapshots.delete(ADMIN, id, off))
    isGuests('snapshot, back, merged', volumeOf(id).path, volumeOf(id).format)
    await clone({ name: 'full', kind: 'full' })
    await backUp('restored')
    const head = volumeOf(id)
    const copy = await done(
      await engine.volumes.copy(ADMIN, head.id, VolumeCopy.parse({ name: 'copy', format: 'qcow2' })),
    )
    const copied = now.store.get<{ head: string }>('volume', copy)?.value.head ?? ''
    const layer = now.store.get<{ file: string; format: string }>('layer', copied)?.value
    isGuests('copied', join(data.root, layer?.file ?? ''), layer?.format ?? '')
    await engine.clones.setTemplate(ADMIN, id, { template: true })
    await clone({ name: 'linked', kind: 'linked' })
    for (const { id: other, name } of (await engine.vms.list(ADMIN)).items)
      if (name === 'linked') {
        await engine.vms.start(ADMIN, other)
        untouched('a linked clone runs')
        await engine.vms.poweroff(ADMIN, other)
        await engine.vms.delete(ADMIN, other, null, 'delete')
      }
    await engine.clones.setTemplate(ADMIN, id, { template: false })
    await engine.vms.start(ADMIN, id)
    untouched('started again')
    await engine.vms.poweroff(ADMIN, id)
    if (volumeOf(id).format === 'raw') {
      await done(await engine.volumes.convert(ADMIN, volumeOf(id).id, 'qcow2'))
      isGuests('converted', volumeOf(id).path, 'qcow2')
    }

    // Whoever was given the file was told what it is.
    const given = started.filter((argv) =>
      argv.some((word) => word.includes(disk.path) && !/^--(ro-)?bind$/.test(word)),
    )
    const tools = given.filter((argv) => argv.some((word) => /(^|\/)qemu-(img|storage-daemon|nbd|io)$/.test(word)))
    expect(tools.length).toBeGreaterThan(5)
    for (const argv of tools) expect(argv.join(' ')).toMatch(/-[fF] raw\b|"driver":"raw"|backing_fmt=raw|driver=raw/)
    rmSync(victim)
  },
  240_000,
)
