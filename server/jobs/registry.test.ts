import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import { Job as JobSchema } from '#lib/schema/job.ts'
import { EngineError } from '#server/engine/errors.ts'
import { createJobRegistry, type JobContext } from './registry.ts'

const ANN = { userId: '01890000-0000-7000-8000-000000000001', name: 'ann' }
const BEN = { userId: '01890000-0000-7000-8000-000000000002', name: 'ben' }

function registry() {
  const seen: Job[] = []
  return { seen, jobs: createJobRegistry({ onChange: (job) => seen.push(job) }) }
}
const request = (work: (context: JobContext) => Promise<string>, owner = ANN) => ({
  kind: 'image-upload' as const,
  title: 'x.iso',
  owner,
  totalBytes: 100,
  work,
})

it('a finished job stays visible with its result', async () => {
  const { jobs, seen } = registry()
  const job = jobs.start(
    request(async ({ progress }) => {
      progress(50)
      return 'made'
    }),
  )
  expect(await job.finished).toBe('made')
  expect(jobs.list(ANN.userId)).toMatchObject([{ state: 'done', progress: 1, result: 'made', cancellable: false }])
  expect(seen.at(0)?.state).toBe('running')
  expect(seen.at(-1)?.state).toBe('done')
  for (const view of seen) JobSchema.parse(view)
})

it('nobody sees, or cancels, the job of another', async () => {
  const { jobs } = registry()
  const job = jobs.start(request(() => new Promise(() => {})))
  expect(jobs.list(BEN.userId)).toEqual([])
  expect(jobs.view(job.id, BEN.userId)).toBeNull()
  expect(() => jobs.cancel(job.id, BEN.userId)).toThrow(EngineError)
  expect(jobs.view(job.id, ANN.userId)?.state).toBe('running')
})

it('cancel aborts the work and a cancelled job cannot be cancelled again', async () => {
  const { jobs } = registry()
  const job = jobs.start(request(({ signal }) => sleep(60_000, 'late', { signal })))
  jobs.cancel(job.id, ANN.userId)
  await expect(job.finished).rejects.toThrow()
  expect(job.view().state).toBe('cancelled')
  expect(() => jobs.cancel(job.id, ANN.userId)).toThrow(/already over/)
})

it('a failure keeps the code and sentence of the engine, and hides anything else', async () => {
  const { jobs } = registry()
  const known = jobs.start(
    request(async () => {
      throw new EngineError('no_space', 'The disk is full.')
    }),
  )
  const unknown = jobs.start(
    request(async () => {
      throw new Error('/secret/path broke')
    }),
  )
  await Promise.allSettled([known.finished, unknown.finished])
  expect(known.view().error).toEqual({ code: 'no_space', message: 'The disk is full.' })
  expect(unknown.view().error?.code).toBe('internal')
  expect(unknown.view().error?.message).not.toContain('/secret')
})

it('at most fifty finished jobs are kept for each person', async () => {
  const { jobs } = registry()
  for (let n = 0; n < 60; n++) await jobs.start(request(async () => String(n))).finished
  await jobs.start(request(async () => 'b', BEN)).finished
  const results = jobs.list(ANN.userId).map((job) => job.result)
  expect(results).toHaveLength(50)
  expect(results[0]).toBe('59')
  expect(jobs.list(BEN.userId)).toHaveLength(1)
})

it('work that fills the disk waits for its turn, and can be cancelled while it waits', async () => {
  const { jobs } = registry()
  const gates = [0, 1, 2].map(() => Promise.withResolvers<string>())
  const started = gates.map(({ promise }) => jobs.start({ ...request(() => promise), queue: 'convert' }))
  const [first, second, third] = started
  const last = jobs.start({ ...request(async () => 'last'), queue: 'convert' })
  expect([first, second, third, last].map((job) => job?.view().state)).toEqual([
    'running',
    'running',
    'queued',
    'queued',
  ])
  jobs.cancel(last.id, ANN.userId)
  await expect(last.finished).rejects.toThrow()
  expect(last.view().state).toBe('cancelled')
  gates[0]?.resolve('a')
  await first?.finished
  await vi.waitFor(() => expect(third?.view().state).toBe('running'))
  gates[1]?.resolve('b')
  gates[2]?.resolve('c')
  expect(await Promise.all(started.map((job) => job.finished))).toEqual(['a', 'b', 'c'])
})

it('speed and time left are told from what was done over the last seconds', async () => {
  let at = 0
  const jobs = createJobRegistry({ onChange: () => {}, now: () => new Date(at) })
  const done = Promise.withResolvers<void>()
  const job = jobs.start(
    request(async ({ progress }) => {
      for (let second = 0; second <= 4; second += 1) {
        at = second * 1000
        progress(second * 10)
      }
      await done.promise
      return 'x'
    }),
  )
  expect(job.view()).toMatchObject({ bytesPerSecond: 10, secondsLeft: 6, progress: 0.4 })
  done.resolve()
  await job.finished
  expect(job.view()).toMatchObject({ secondsLeft: null })
})

it('what has begun to take effect can no longer be cancelled', async () => {
  const { jobs } = registry()
  const gate = Promise.withResolvers<string>()
  const job = jobs.start(
    request(({ settle }) => {
      settle()
      return gate.promise
    }),
  )
  expect(() => jobs.cancel(job.id, ANN.userId)).toThrow(/no longer be cancelled/)
  gate.resolve('made')
  expect(await job.finished).toBe('made')
})

it('whoever waits for the end of a job is told at its end, at the limit, and at once where there is nothing to wait for', async () => {
  const { jobs } = registry()
  const work = Promise.withResolvers<string>()
  const job = jobs.start(request(() => work.promise))
  const limit = new AbortController()
  const limited = jobs.whenOver(job.id, limit.signal)
  limit.abort()
  await limited
  expect(job.view().state).toBe('running')
  const whole = jobs.whenOver(job.id, new AbortController().signal)
  work.resolve('made')
  await whole
  expect(job.view().state).toBe('done')
  await jobs.whenOver(job.id, new AbortController().signal)
  await jobs.whenOver('unknown', new AbortController().signal)

  const failing = jobs.start(request(async () => Promise.reject(new EngineError('no_space', 'The disk is full.'))))
  await jobs.whenOver(failing.id, new AbortController().signal)
  expect(failing.view().state).toBe('failed')
})
