/**
 * Random histories of one VM's disk: writes, snapshots, going back, deleting, clones of now and of then, backups, growth,
 * while it runs and while it is off. A model of a few lines knows what every disk must hold; in the end every byte is
 * looked at. `GUESTDECK_HISTORY_SEED` and `GUESTDECK_HISTORY_STEPS` try others.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { BackupOptions } from '#lib/schema/backup.ts'
import { CloneInput } from '#lib/schema/clone.ts'
import type { Job } from '#lib/schema/job.ts'
import { SnapshotInput, SnapshotRevertInput } from '#lib/schema/snapshot.ts'
import { ADMIN, create, data, now, until, update } from './test-rig.ts'

const STEPS = Number(process.env.GUESTDECK_HISTORY_STEPS ?? 22)
const SEED = Number(process.env.GUESTDECK_HISTORY_SEED ?? 0)
/** Places that are written to, in MiB; the last ones exist only after growth. */
const PLACES = [1, 3, 5, 7, 900, 1500, 2500]

/** What a disk holds: a byte for each place. */
type Content = ReadonlyMap<number, number>

/** Numerical Recipes' generator: the same history for the same seed. */
function dice(seed: number) {
  let state = (seed * 2654435761 + 12345) >>> 0
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  return {
    below: (n: number) => Math.floor(next() * n),
    of: <T>(list: readonly T[]) => list[Math.floor(next() * list.length)],
  }
}

async function done(job: Job): Promise<string> {
  const last = await until(
    () => now.engine.jobs.view(ADMIN, job.id),
    ({ endedAt }) => endedAt !== null,
    180_000,
  )
  if (last.state !== 'done') throw new Error(`${last.title}: ${last.error?.message}`)
  return last.result ?? ''
}
function headOf(vmId: string): { path: string; format: string } {
  const volume = now.store
    .list<{ vm: { id: string } | null; head: string }>('volume')
    .find(({ value }) => value.vm?.id === vmId)
  const layer = now.store.get<{ file: string; format: string }>('layer', volume?.value.head ?? '')?.value
  return { path: join(data.root, layer?.file ?? ''), format: layer?.format ?? '' }
}
const io = ({ path, format }: { path: string; format: string }, ...commands: string[]) =>
  execFileSync('qemu-io', ['-f', format, ...commands.flatMap((command) => ['-c', command]), path], { encoding: 'utf8' })

async function history(kind: 'disk' | 'memory', seed: number): Promise<void> {
  const { engine } = now
  const random = dice(seed)
  const vm = await create(ADMIN, {
    ...{ name: 'history', memoryMiB: 16, accelerator: 'tcg', firmware: 'bios', display: 'none', networks: [] },
    disks: [{ device: 'disk', sizeGiB: 1 }],
  })
  const { id } = vm
  const told: string[] = []
  let sizeGiB = 1
  let isRunning = false
  let content: Content = new Map()
  let pattern = 0
  const snapshots = new Map<string, { content: Content; sizeGiB: number; isRunning: boolean }>()
  const others = new Map<string, Content>()

  const clone = async (input: object, expected: Content) => {
    const made = await done(await engine.clones.clone(ADMIN, id, CloneInput.parse(input)))
    others.set(made, expected)
  }
  const steps: Record<string, () => Promise<void>> = {
    async write() {
      const place = random.of(PLACES.filter((mib) => mib < sizeGiB * 1024)) ?? 1
      pattern = (pattern % 250) + 1
      const byte = pattern
      const command = `write -P ${byte} ${place}M 1M`
      if (isRunning)
        await now.supervisor.work(id, async (guest) => {
          for (const what of [command, 'flush']) {
            const line = `qemu-io -d /machine/peripheral/disk0/virtio-backend "${what}"`
            expect(await guest.ask('human-monitor-command', { 'command-line': line })).toBe('')
          }
        })
      else io(headOf(id), command)
      content = new Map(content).set(place, byte)
    },
    async snapshot() {
      if (snapshots.size >= 5) return await steps.drop?.()
      const made = await done(await engine.snapshots.create(ADMIN, id, SnapshotInput.parse({ kind })))
      snapshots.set(made, { content, sizeGiB, isRunning })
    },
    async revert() {
      const one = random.of([...snapshots])
      if (one === undefined) return
      const [snapshot, then] = one
      const start = random.below(2) === 0
      await done(await engine.snapshots.revert(ADMIN, id, snapshot, SnapshotRevertInput.parse({ start })))
      content = then.content
      sizeGiB = then.sizeGiB
      // One with memory goes on as it was.
      isRunning = kind === 'memory' && then.isRunning ? true : start
    },
    async drop() {
      const snapshot = random.of([...snapshots.keys()])
      if (snapshot === undefined) return
      await done(await engine.snapshots.delete(ADMIN, id, snapshot))
      snapshots.delete(snapshot)
    },
    async clone() {
      // The files of a VM with memory snapshots cannot freeze, nor be copied by another while they are written.
      const isLinked = kind === 'disk' && random.below(2) === 0
      await clone({ name: `clone ${others.size}`, kind: isLinked ? 'linked' : 'full' }, content)
    },
    async cloneOfThen() {
      const one = random.of([...snapshots])
      if (one === undefined || (kind === 'memory' && isRunning)) return
      const [snapshot, then] = one
      const isLinked = kind === 'disk' && random.below(2) === 0
      await clone({ name: `then ${others.size}`, kind: isLinked ? 'linked' : 'full', snapshot }, then.content)
    },
    async backUp() {
      const options = BackupOptions.parse({ freeze: false, compression: 'none' })
      const backup = await done(await engine.backups.create(ADMIN, id, options))
      const input = { as: 'new' as const, name: `restored ${others.size}` }
      others.set(await done(await engine.backups.restore(ADMIN, backup, input)), content)
    },
    async grow() {
      if (sizeGiB >= 3) return
      sizeGiB += 1
      const [disk] = (await engine.vms.view(ADMIN, id)).spec.disks
      await update(ADMIN, id, { disks: [{ ...disk, sizeGiB }] })
    },
    async power() {
      if (isRunning) await engine.vms.poweroff(ADMIN, id)
      else await engine.vms.start(ADMIN, id)
      isRunning = !isRunning
    },
    async forget() {
      const other = random.of([...others.keys()])
      if (other === undefined) return
      await engine.vms.delete(ADMIN, other, null, 'delete')
      others.delete(other)
    },
  }
  const names = [
    'write',
    'write',
    'write',
    'snapshot',
    'snapshot',
    'revert',
    'drop',
    'clone',
    'cloneOfThen',
    'backUp',
    'grow',
    'power',
    'forget',
  ]

  /** Refused for a reason that is told is no fault: it is the history that goes another way. */
  const REFUSED = /linked clones were made of this guest|cannot shrink|snapshot[s]? .*(grow|size)|has snapshots/i
  const check = (of: string, what: string, expected: Content) => {
    const commands = PLACES.filter((place) => place < 1024 || expected.has(place)).map(
      (place) => `read -P ${expected.get(place) ?? 0} ${place}M 1M`,
    )
    let out = ''
    try {
      out = io(headOf(of), ...commands)
    } catch (error) {
      out = `failed: ${error}`
    }
    expect(out, `seed ${seed}, ${kind}: ${what}\n${told.join('\n')}`).not.toMatch(/failed/i)
  }

  for (let step = 0; step < STEPS; step += 1) {
    const name = random.of(names) ?? 'write'
    const before: { content: Content; sizeGiB: number; isRunning: boolean } = { content, sizeGiB, isRunning }
    try {
      await steps[name]?.()
      told.push(`${name}: ${isRunning ? 'running' : 'off'}, ${[...content].join(' ')}`)
    } catch (error) {
      const sentence = error instanceof Error ? error.message : String(error)
      if (!REFUSED.test(sentence))
        throw new Error(`seed ${seed}, ${kind}, ${name}: ${sentence}\n${told.join('\n')}`, { cause: error })
      told.push(`${name}: refused: ${sentence}`)
      ;({ content, sizeGiB, isRunning } = before)
    }
    if (!isRunning) check(id, `after ${name}`, content)
  }
  if (isRunning) await engine.vms.poweroff(ADMIN, id)
  check(id, 'in the end', content)
  for (const [other, expected] of others) check(other, 'a copy', expected)
  // The parent goes, and its copies stay whole; every snapshot is as it was.
  for (const [snapshot, then] of snapshots) {
    if (then.isRunning && kind === 'memory') continue
    await done(await engine.snapshots.revert(ADMIN, id, snapshot, SnapshotRevertInput.parse({})))
    check(id, `back at ${snapshot}`, then.content)
  }
  await engine.vms.delete(ADMIN, id, null, 'delete')
  for (const [other, expected] of others) check(other, 'a copy, its source gone', expected)
  for (const other of others.keys()) await engine.vms.delete(ADMIN, other, null, 'delete')
  const backups = (await engine.backups.list(ADMIN, {})).items.toSorted((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
  for (const backup of backups) await done(await engine.backups.delete(ADMIN, backup.id, { dependents: 'refuse' }))
  expect(readdirSync(data.layersDir)).toEqual([])
}

test.each([
  ['disk', SEED || 1],
  ['disk', SEED || 2],
  ['memory', SEED || 3],
] as const)(
  'any order of writes, %s snapshots, clones, backups and growth keeps every byte (seed %i)',
  history,
  240_000,
)
