/** For tests: the context of a job that nobody watches. */
import type { JobContext } from './registry.ts'

export const quietJob = (change: Partial<JobContext> = {}): JobContext => ({
  jobId: '01890000-0000-7000-8000-0000000000ff',
  signal: new AbortController().signal,
  progress() {},
  step() {},
  inQueue: (_queue, work) => work(),
  settle() {},
  ...change,
})
