/** Recordings by rule through the whole engine, with a real guest that never stops talking and a clock of the test's own. */
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Recording } from '#lib/schema/recording.ts'
import { ADMIN, ANN, bootDisk, create, data, now, options, until, upload } from './test-rig.ts'

const MiB = 2 ** 20
const DAY_MS = 24 * 3_600_000
const clock = { steady: 1_000_000, wall: Date.now() }
options.labClock = { steadyMs: () => clock.steady, wallMs: () => clock.wall }

/** Says `x` on the first serial port without end. */
function chatterDisk(): Buffer {
  const image = bootDisk()
  // mov dx, 0x3f8; mov al, 'x'; out dx, al; jmp -3
  image.set([0xba, 0xf8, 0x03, 0xb0, 0x78, 0xee, 0xeb, 0xfd])
  return image
}
const settings = (patch: object) => now.engine.recordings.updateSettings(ADMIN, patch)
const list = async (id: string) => await now.engine.recordings.list(ADMIN, id)
const isThere = ({ vmId, id, kind }: Recording) => existsSync(data.recording(vmId, id, kind))
const lines = async () => (await now.engine.activity(ADMIN, { limit: 200 })).items.map(({ text }) => text)
const ended = ({ items }: Awaited<ReturnType<typeof list>>) =>
  items.filter(({ always, endedAt }) => always && endedAt !== null)

test('a rule records part after part, its oldest give way to new ones and a person’s never; quotas hold; what was kept long enough goes by a clock nobody sets', async () => {
  const image = await upload(ADMIN, chatterDisk())
  const { id } = await create(ANN, {
    ...{ name: 'chatter', memoryMiB: 32, networks: [], firmware: 'bios' },
    disks: [{ device: 'disk', image: image.id, bus: 'sata' }],
  })
  // From here on rules are followed.
  await now.engine.autostart()
  await settings({ maxMiB: 1, vmMaxMiB: 3, keepDays: 2 })
  await now.engine.vms.start(ADMIN, id)

  // By a person: whatever rules do later, it stays.
  const own = await now.engine.recordings.start(ANN, id, { kind: 'serial' })
  const kept = await until(
    () => now.engine.recordings.view(ANN, id, own.id),
    ({ endedAt }) => endedAt !== null,
    120_000,
  )
  expect(kept.reason).toMatch(/large/)
  expect(kept.sizeBytes).toBeLessThanOrEqual(MiB)

  await now.engine.recordings.setRule(ADMIN, id, { serial: true })
  let most = 0
  const gone = await until(
    async () => {
      const seen = await list(id)
      most = Math.max(most, seen.usedBytes)
      return await lines()
    },
    (all) => all.filter((text) => /gave way to a newer one/.test(text)).length >= 2,
    180_000,
  )
  expect(gone.filter((text) => /is recorded by the rule to always record/.test(text)).length).toBeGreaterThanOrEqual(3)
  expect(most).toBeLessThanOrEqual(3 * MiB)
  const full = await list(id)
  expect(full.items.find((one) => one.id === own.id)).toEqual(kept)
  expect(full.items.filter(isThere)).toEqual(full.items)

  // A person has only what is left, and is told.
  await now.engine.recordings.setRule(ADMIN, id, { serial: false })
  await until(
    () => list(id),
    ({ items }) => items.every(({ endedAt }) => endedAt !== null),
  )
  await settings({ vmMaxMiB: 1 })
  await expect(now.engine.recordings.start(ANN, id, { kind: 'serial' })).rejects.toMatchObject({
    code: 'quota_exceeded',
    message: 'The recordings of this VM take all of the 1 MiB they may take. Delete some first.',
  })

  // Whole GiB count against the quota of disks, for persons and rules alike; a rule goes on once there is some.
  await settings({ maxMiB: 1024, vmMaxMiB: 4096 })
  const used =
    (await now.engine.usage.view(ADMIN)).holders.find((holder) => holder.id === ANN.userId)?.used.diskGiB ?? 0
  const quota = (diskGiB: number | null) =>
    now.engine.usage.setQuota(ADMIN, { type: 'person', id: ANN.userId }, diskGiB === null ? null : { diskGiB })
  await quota(used)
  await expect(now.engine.recordings.start(ANN, id, { kind: 'vnc' })).rejects.toMatchObject({
    code: 'quota_exceeded',
    details: { item: 'diskGiB', limit: used, asked: 1 },
  })
  const before = ended(await list(id)).length
  await now.engine.recordings.setRule(ADMIN, id, { serial: true })
  await until(lines, (all) => all.some((text) => /is not recorded although a rule says so: .*quota/i.test(text)))
  await quota(null)
  await now.engine.labTick()
  await until(
    () => list(id),
    ({ items }) => items.some(({ state }) => state === 'recording'),
  )
  await now.engine.recordings.setRule(ADMIN, id, { serial: false })
  const last = await until(
    () => list(id),
    (seen) => ended(seen).length === before + 1,
  )

  // Two days: not by a date that somebody set, and not what ended later.
  clock.wall += 400 * DAY_MS
  await now.engine.labTick()
  expect((await list(id)).items).toHaveLength(last.items.length)
  clock.wall -= 400 * DAY_MS
  const pass = (ms: number) => {
    clock.wall += ms
    clock.steady += ms
  }
  pass(DAY_MS)
  const late = await now.engine.recordings.start(ANN, id, { kind: 'vnc' })
  await until(
    () => now.engine.recordings.stop(ANN, id, late.id).catch(() => null),
    (stopped) => stopped?.state === 'complete',
  )
  pass(DAY_MS - 1000)
  await now.engine.labTick()
  expect((await list(id)).items).toHaveLength(last.items.length + 1)
  pass(2000)
  await now.engine.labTick()
  expect((await list(id)).items.map((one) => one.id)).toEqual([late.id])
  expect(last.items.filter(isThere)).toEqual([])
  expect((await lines()).filter((text) => /was deleted: it was kept as long as it should/.test(text))).toHaveLength(
    last.items.length,
  )
}, 400_000)
