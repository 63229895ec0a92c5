/**
 * kill -9 of QEMU, alone and together with the dashboard, in the middle of a move: exactly one copy is the disk, it has
 * every write that the guest was told is safe, and the guest starts from it.
 */
import { expect, test } from 'vitest'
import { MoveRig } from '#server/testing/move-rig.ts'
import { isRunning } from '#server/testing/process-rig.ts'

/** In the place of which command QEMU ends, whether the dashboard ends as well, and where the disk is then. */
const POINTS = [
  { point: 'both are equal, the guest still runs', command: 'stop', both: false, hasMoved: false },
  { point: 'the guest stands still, before it goes over', command: 'job-complete', both: false, hasMoved: true },
  { point: 'the same, and the dashboard too', command: 'job-complete', both: true, hasMoved: true },
  { point: 'it has gone over, which is not stored', command: 'job-dismiss', both: false, hasMoved: true },
  { point: 'the same, and the dashboard too', command: 'job-dismiss', both: true, hasMoved: true },
]

test('a guest killed at any point of a move starts again from one whole disk with all its writes (F12)', async () => {
  const rig = await MoveRig.open()
  const started = async () => {
    const before = await rig.acknowledged()
    await rig.start()
    await expect.poll(() => rig.acknowledged(), { timeout: 90_000 }).toBeGreaterThan(before + 5)
  }
  const over = async (point: string) => {
    await expect
      .poll(async () => (await rig.vm()).state, { message: point, timeout: 90_000 })
      .toMatch(/^(off|crashed)$/)
    await expect.poll(() => rig.files().length, { message: point, timeout: 90_000 }).toBe(1)
  }
  try {
    // In the copy.
    await started()
    const first = await rig.move(4)
    await rig.underWay(first)
    process.kill(rig.pid, 'SIGKILL')
    expect(await rig.end(first)).toMatchObject({ state: 'failed', error: { code: 'wrong_state' } })
    await over('in the copy')
    expect((await rig.volume()).pool.id).toBe(rig.pools[0])
    await rig.verify()

    for (const { point, command, both, hasMoved } of POINTS) {
      await started()
      const from = (await rig.volume()).pool.id
      rig.killAt(command, rig.pid, ...(both ? [0] : []))
      const job = await rig.move().catch(() => null)
      if (both) {
        await rig.killed()
        await rig.again()
      } else if (job !== null) expect(await rig.end(job), point).toMatchObject({ state: hasMoved ? 'done' : 'failed' })
      await over(point)
      expect((await rig.volume()).pool.id === from, point).toBe(!hasMoved)
      await rig.verify()
    }
  } finally {
    if (isRunning(rig.pid)) process.kill(rig.pid, 'SIGKILL')
  }
}, 600_000)
