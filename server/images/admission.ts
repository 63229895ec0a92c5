/**
 * Hands a file that arrived over time to the door. The door takes its file over and removes it, come what may; it gets
 * a second name of it, so that a crash in the middle of a long conversion does not cost what took hours to arrive.
 */
import { link, rm } from 'node:fs/promises'
import type { JobContext } from '#server/jobs/registry.ts'
import { admitFile } from './admit.ts'
import type { AdmitDeps, AdmitRequest } from './prepare.ts'

/** @returns the image's id, which is the one given. The file stays. @throws EngineError image_refused, no_space, … */
export type Admit = (path: string, request: AdmitRequest & { readonly id: string }, job: JobContext) => Promise<string>

export const createAdmission =
  (deps: AdmitDeps): Admit =>
  async (path, request, job) => {
    const second = deps.data.upload(request.id)
    await rm(second, { force: true })
    await link(path, second)
    return admitFile(deps, second, request, job)
  }
