/**
 * kill -9 of the dashboard in the middle of a move of a disk that a real guest writes to: one copy counts, the other is
 * gone, the guest runs on, and no write that it was told is safe is lost.
 */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { MoveRig } from '#server/testing/move-rig.ts'
import { isRunning } from '#server/testing/process-rig.ts'

/** Where the dashboard ends: in the place of which command, and whether the disk has moved then. */
const POINTS = [
  { point: 'the target is made', command: 'blockdev-add', hasMoved: false },
  { point: 'both are equal, the guest still runs', command: 'stop', hasMoved: false },
  { point: 'the guest stands still, before it goes over', command: 'job-complete', hasMoved: false },
  { point: 'it has gone over, which is not stored', command: 'job-dismiss', hasMoved: true },
  { point: 'it is stored, the guest still stands', command: 'cont', hasMoved: true },
  { point: 'the old file is still open', command: 'blockdev-del', hasMoved: true },
]

test('a dashboard killed at any point of a move leaves one whole disk under a guest that writes on (F12)', async () => {
  const rig = await MoveRig.open()
  await rig.start()
  try {
    // In the copy.
    let from = (await rig.volume()).pool.id
    const first = await rig.move(4)
    await rig.underWay(first)
    await rig.kill()
    await rig.again()
    expect(await rig.end(first)).toMatchObject({ state: 'failed', error: { code: 'interrupted' } })
    expect((await rig.volume()).pool.id).toBe(from)
    await rig.file()

    for (const { point, command, hasMoved } of POINTS) {
      from = (await rig.volume()).pool.id
      rig.killAt(command, 0)
      await rig.move().catch(() => {})
      await rig.killed()
      await rig.again()
      expect(isRunning(rig.pid), point).toBe(true)
      await expect.poll(async () => (await rig.vm()).state, { message: point, timeout: 90_000 }).toBe('running')
      expect((await rig.volume()).pool.id === from, point).toBe(!hasMoved)
      await rig.file()
      // It may be changed and moved again: nothing is under way any more.
      expect(await rig.vm(), point).not.toHaveProperty('work')
      const before = await rig.acknowledged()
      await expect.poll(() => rig.acknowledged(), { message: point, timeout: 90_000 }).toBeGreaterThan(before)
    }

    // And one that nobody disturbs.
    expect(await rig.end(await rig.move())).toMatchObject({ state: 'done' })
    const inside = await rig.checksum(32)
    await rig.call('POST', `/vms/${rig.vmId}/poweroff`)
    expect(await rig.verify()).toBeGreaterThan(20)
    const outside = createHash('sha256')
      .update(await rig.first(32))
      .digest('hex')
    expect(inside).toBe(outside)
  } finally {
    if (isRunning(rig.pid)) process.kill(rig.pid, 'SIGKILL')
  }
}, 600_000)
