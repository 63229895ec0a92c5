/** Imports from directories of the host, and the drafts that appliances (OVA) left. */
import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { mayOnSite } from '#lib/auth/privileges.ts'
import { Appliance } from '#lib/schema/appliance.ts'
import { admitFile } from '#server/images/admit.ts'
import type { Intake } from '#server/images/intake.ts'
import { REGULAR_READ } from '#server/images/library.ts'
import { cleanImageName } from '#server/images/names.ts'
import type { AdmitDeps } from '#server/images/prepare.ts'
import { checkSource, nameOfPath } from '#server/images/register.ts'
import { transfer } from '#server/images/transfer.ts'
import type { JobContext, JobRegistry } from '#server/jobs/registry.ts'
import type { Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { ApplianceEngine, Caller } from './types.ts'

export interface ApplianceEngineDeps {
  readonly store: Store
  readonly jobs: JobRegistry
  readonly journal: Journal
  readonly imageDirs: readonly string[]
  readonly door: AdmitDeps
  readonly intake: Intake
}

const CREATE_NEW = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY

export function createApplianceEngine(deps: ApplianceEngineDeps): ApplianceEngine {
  const { store, jobs, journal, door, intake } = deps
  const note = (caller: Caller, what: string, text: string, name: string, id?: string, failed = false): void =>
    journal.write({
      what,
      text,
      result: failed ? 'failed' : 'ok',
      caller,
      topic: 'image',
      objectName: name,
      ...(id !== undefined && { objectId: id }),
    })

  /** A copy first: whoever may write to that directory could change the file under the converter. */
  const copyIn = async (
    path: string,
    sizeBytes: number,
    job: JobContext,
  ): Promise<{ path: string; sha256: string }> => {
    const temporary = door.data.upload(randomUUID())
    const reservation = await door.space.reserve(sizeBytes, 'The import')
    try {
      const source = await open(path, REGULAR_READ)
      const target = await open(temporary, CREATE_NEW, 0o600)
      try {
        const { sha256 } = await transfer(source.createReadStream({ highWaterMark: 2 ** 20 }), target, {
          reservation,
          reservedBytes: sizeBytes,
          maxBytes: sizeBytes,
          signal: job.signal,
          onProgress: job.progress,
        })
        return { path: temporary, sha256 }
      } finally {
        await target.close()
      }
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    } finally {
      reservation.release()
    }
  }

  const viewOf = (id: string): Appliance => {
    const parsed = Appliance.safeParse(store.get('appliance', id)?.value)
    if (!parsed.success) throw new EngineError('not_found', 'There is no such appliance.')
    return parsed.data
  }

  return {
    async importFile(caller, input) {
      const name = cleanImageName(input.name ?? nameOfPath(input.path))
      const file = await checkSource(deps.imageDirs, input.path)
      const owner = { id: caller.userId, name: caller.name }
      const imageId = randomUUIDv7()
      intake.begin(imageId, caller.userId, file.sizeBytes)
      const job = jobs.start({
        kind: 'image-import',
        title: name,
        owner: { userId: caller.userId, name: caller.name },
        totalBytes: file.sizeBytes,
        async work(context) {
          try {
            context.step('Copying the file.')
            const copy = await copyIn(file.path, file.sizeBytes, context)
            const request = { id: imageId, name, owner, source: 'import', sha256: copy.sha256 } as const
            const id = await admitFile(door, copy.path, request, context)
            note(caller, 'imageImport', `${caller.name} imported the image ${name}.`, name, id)
            return id
          } catch (error) {
            const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
            note(caller, 'imageImport', `The file ${name} was not imported: ${why}`, name, undefined, true)
            throw error
          } finally {
            intake.end(imageId)
          }
        },
      })
      return job.view()
    },
    list: async () => ({
      items: store.list('appliance').flatMap(({ value }) => {
        const parsed = Appliance.safeParse(value)
        return parsed.success ? [parsed.data] : []
      }),
    }),
    view: async (_caller, id) => viewOf(id),
    async delete(caller, id) {
      const { name, addedBy } = viewOf(id)
      if (addedBy.id !== caller.userId && !mayOnSite(caller, 'image.common'))
        throw new EngineError('forbidden', `${addedBy.name} added this appliance; ask them, or an operator.`)
      store.delete('appliance', id)
      note(caller, 'applianceDelete', `${caller.name} forgot the draft of the appliance ${name}.`, name, id)
    },
  }
}
