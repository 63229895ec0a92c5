/** Long work on a real guest: where its files are in QEMU's graph, and jobs through their whole life. */
import { expect, it } from 'vitest'
import { ADMIN, bootDisk, create, data, now, until, upload } from '#server/engine/test-rig.ts'
import { findNode, listNodes, rootNodeOf } from './find-node.ts'
import { cancel, endWithoutPivot, listJobs, resumeJob, runJob } from './run-job.ts'

const never = () => new AbortController().signal

it('finds the nodes of a disk, and follows jobs to success, failure, cancel and after another run', async () => {
  const image = await upload(ADMIN, bootDisk())
  const vm = await create(ADMIN, {
    name: 'w',
    memoryMiB: 32,
    networks: [],
    disks: [{ id: 'a', device: 'disk', image: image.id, sizeGiB: 1 }],
  })
  await expect(now.supervisor.work(vm.id, async () => 1)).rejects.toMatchObject({ code: 'wrong_state' })
  await now.engine.vms.start(ADMIN, vm.id)

  await now.supervisor.work(vm.id, async (work) => {
    const node = await findNode(work, data.disk(vm.id, 'a'), 'a')
    expect(node).toMatchObject({ 'node-name': 'a.0', drv: 'qcow2', ro: false })
    expect(await rootNodeOf(work, 'a')).toBe('a.0')
    expect((await listNodes(work)).map(({ file }) => file)).toContain(data.image(image.id))
    await expect(findNode(work, '/nowhere', 'b')).rejects.toMatchObject({ code: 'conflict' })

    // Targets that QEMU writes in memory: its user may not make files.
    for (const name of ['t0', 't1'])
      await work.ask('blockdev-add', { driver: 'null-co', 'node-name': name, size: 2 ** 30, 'read-zeroes': true })
    const seen: number[] = []
    const backup = (id: string, target: string, speed = 0) => ({
      jobId: id,
      what: 'The copy',
      start: () =>
        work.ask('blockdev-backup', {
          'job-id': id,
          device: 'a.0',
          target,
          sync: 'full',
          speed,
          'auto-dismiss': false,
        }),
    })
    await runJob(work, { ...backup('j0', 't0'), signal: never(), progress: (done, total) => seen.push(done / total) })
    expect(seen.at(-1)).toBe(1)
    expect(await listJobs(work)).toEqual([])

    // Mirror that has caught up, ended without going over.
    let ready = 0
    await runJob(work, {
      ...{ jobId: 'm0', what: 'The mirror', signal: never() },
      start: () =>
        work.ask('blockdev-mirror', {
          'job-id': 'm0',
          device: 'a.0',
          target: 't0',
          sync: 'full',
          'auto-dismiss': false,
        }),
      ready: async (guest) => {
        ready += 1
        await endWithoutPivot('m0')(guest)
      },
    })
    expect(ready).toBe(1)
    expect(await rootNodeOf(work, 'a')).toBe('a.0')

    // Cancelled: nothing of it is left in QEMU when the caller learns of it.
    const stop = new AbortController()
    const slow = runJob(work, { ...backup('j1', 't1', 2 ** 20), signal: stop.signal })
    await until(
      () => listJobs(work),
      (jobs) => jobs.length === 1,
    )
    stop.abort(new Error('enough'))
    await expect(slow).rejects.toThrow('enough')
    expect(await listJobs(work)).toEqual([])

    // A target that fails.
    await work.ask('blockdev-add', {
      ...{ driver: 'blkdebug', 'node-name': 'bad', image: 't1' },
      'inject-error': [{ event: 'none', errno: 28, once: false }],
    })
    await expect(runJob(work, { ...backup('j2', 'bad'), signal: never() })).rejects.toMatchObject({ code: 'no_space' })
    expect(await listJobs(work)).toEqual([])

    await work.ask('blockdev-del', { 'node-name': 'bad' })
    // Taken up by somebody who did not start it.
    await backup('j3', 't1', 2 ** 20).start()
    const taken = resumeJob(work, { jobId: 'j3', what: 'The copy', signal: never() })
    await cancel(work, 'j3')
    await taken.catch(() => {})
    expect(await resumeJob(work, { jobId: 'j3', what: 'The copy', signal: never() })).toBe(false)

    // The guest ends under it.
    const doomed = runJob(work, { ...backup('j4', 't1', 2 ** 20), signal: never() })
    await until(
      () => listJobs(work),
      (jobs) => jobs.length === 1,
    )
    await now.engine.vms.poweroff(ADMIN, vm.id)
    await expect(doomed).rejects.toMatchObject({ code: 'wrong_state' })
    expect(work.signal.aborted).toBe(true)
  })
})
