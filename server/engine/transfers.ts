/** What brings bytes into the library, as the API knows it: resumable uploads, downloads, the catalogue. */
import { JobId } from '#lib/schema/ids.ts'
import type { DownloadInput } from '#lib/schema/transfer.ts'
import type { Guard } from '#server/fetch/client.ts'
import { parseSource, vet } from '#server/fetch/url-guard.ts'
import type { Admit } from '#server/images/admission.ts'
import type { Catalogue, Entry } from '#server/images/catalogue.ts'
import { readChecksum } from '#server/images/checksums.ts'
import { type DownloadPlan, fileNameOf, imageNameOf, resolvePlan } from '#server/images/download-plan.ts'
import { createDownloads, lookAt } from '#server/images/downloads.ts'
import type { Intake } from '#server/images/intake.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import { cleanImageName } from '#server/images/names.ts'
import { createUploadSessions } from '#server/images/upload-sessions.ts'
import type { JobRegistry } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller, TransferEngine } from './types.ts'

const PREVIEW_TIMEOUT_MS = 45_000

export interface TransferEngineDeps {
  readonly data: DataPaths
  readonly store: Store
  readonly library: ImageLibrary
  readonly jobs: JobRegistry
  readonly space: SpaceLedger
  readonly journal: Journal
  readonly admit: Admit
  readonly intake: Intake
  readonly guard: Guard
  readonly catalogue: Catalogue
  readonly warn: (message: string, error?: unknown) => void
}

export interface RunningTransfers extends TransferEngine {
  /** After the library is open. */
  open(): Promise<void>
  close(): void
}

export function createTransferEngine(deps: TransferEngineDeps): RunningTransfers {
  const { data, store, library, jobs, space, journal, admit, intake, guard, catalogue, warn } = deps
  const isAdmitted = (id: string) => library.get(id) !== null
  const note = (
    what: string,
    {
      name,
      owner,
      imageId,
      error,
    }: { name: string; owner: { id: string; name: string }; imageId: string | null; error: unknown },
    how: string,
  ): void => {
    const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
    journal.write({
      what,
      text:
        imageId === null ? `The image ${name} was not added: ${why}` : `${owner.name} added the image ${name}${how}.`,
      result: imageId === null ? 'failed' : 'ok',
      caller: null,
      who: owner.name,
      topic: 'image',
      ...(imageId !== null && { objectId: imageId }),
      objectName: name,
      ownerId: owner.id,
    })
  }
  const uploads = createUploadSessions({
    ...{ data, store, space, jobs, admit, intake, isAdmitted, warn },
    onEnd: (upload) => note('imageUpload', upload, ''),
  })
  const downloads = createDownloads({
    ...{ data, store, space, jobs, guard, admit, intake, isAdmitted, warn },
    onEnd: (download) => note('imageDownload', download, ` from ${download.origin}`),
  })
  const personOf = (caller: Caller) => ({ id: caller.userId, name: caller.name })
  const whose = (caller: Caller) => (caller.role === 'admin' ? null : caller.userId)

  const planOf = (input: DownloadInput): DownloadPlan => {
    const urls = [
      parseSource(input.url, 'url'),
      ...input.mirrors.map((mirror, index) => parseSource(mirror, `mirrors.${index}`)),
    ].map(({ href }) => href)
    const none = { pattern: null, directories: [] as string[], mirror: null, format: 'sums' as const }
    const { checksum } = input
    if (checksum === undefined) return { ...none, urls, checksum: null, lists: [], file: null }
    if ('value' in checksum) return { ...none, urls, checksum: readChecksum(checksum.value), lists: [], file: null }
    const list = parseSource(checksum.listUrl, 'checksum')
    return { ...none, urls, checksum: null, lists: [list.href], file: checksum.file ?? fileNameOf(input.url) }
  }
  /** Refused at once rather than in a job nobody looks at yet. */
  const vetAll = async (plan: DownloadPlan): Promise<void> => {
    for (const url of [...plan.urls, ...plan.lists]) await vet(new URL(url), guard.allow, guard.resolve)
  }
  const nameOf = (input: DownloadInput) =>
    input.name === undefined ? imageNameOf(input.url) : cleanImageName(input.name)

  const nameOfEntry = (entry: Entry): string => entry.file ?? `${entry.id}.${entry.kind === 'iso' ? 'iso' : 'qcow2'}`
  const fetching = new Set<string>()

  return {
    async open() {
      await downloads.open()
      await uploads.open()
    },
    close: () => uploads.close(),
    uploadList: async (caller) => ({ items: uploads.list(whose(caller)) }),
    uploadView: async (caller, id) => uploads.view(id, whose(caller)),
    uploadSettle: (caller, id) => uploads.settle(id, caller.userId),
    uploadCreate: (caller, { name, sizeBytes, sha256, lastModifiedMs }) =>
      uploads.create(personOf(caller), { name: cleanImageName(name), sizeBytes, sha256, lastModifiedMs }),
    uploadAppend: (caller, id, piece) => uploads.append(id, caller.userId, piece),
    uploadFinish: (caller, id) => uploads.finish(id, caller.userId),
    uploadDelete: (caller, id) => uploads.remove(id, whose(caller)),
    async download(caller, input) {
      const plan = planOf(input)
      const name = nameOf(input)
      await vetAll(plan)
      return downloads.start(personOf(caller), { name, plan, catalogue: null })
    },
    async downloadPreview(_caller, input) {
      const plan = planOf(input)
      const name = nameOf(input)
      await vetAll(plan)
      const signal = AbortSignal.timeout(PREVIEW_TIMEOUT_MS)
      const hasChecksum = plan.lists.length > 0 || plan.checksum !== null
      const facts = await lookAt(input.url, guard, hasChecksum, signal)
      const { checksum } = await resolvePlan(plan, guard, signal)
      const existing =
        checksum?.algorithm === 'sha256' ? library.all().find((image) => image.sha256 === checksum.value) : undefined
      return {
        ...facts,
        name,
        checksum,
        existing: existing === undefined ? null : library.view(existing, () => false).id,
      }
    },
    async catalogueList(caller) {
      const { entries, problems } = await catalogue.load()
      const underWay = downloads.underWay()
      const images = library.all()
      return {
        items: entries.map((entry) => {
          const jobId = underWay.get(entry.id)
          return {
            ...{ id: entry.id, name: entry.name, os: entry.os, guest: entry.guest, kind: entry.kind, own: entry.own },
            ...{ description: entry.description, homepage: entry.homepage, source: catalogue.sourceOf(entry) },
            ...{ memoryMiB: entry.memoryMiB, diskGiB: entry.diskGiB },
            checksum:
              entry.checksum === undefined
                ? entry.list === null
                  ? null
                  : 'list'
                : (readChecksum(entry.checksum)?.algorithm ?? null),
            images: images.flatMap((image) =>
              image.catalogue === entry.id ? [library.view(image, () => false).id] : [],
            ),
            jobId: jobId === undefined ? null : JobId.parse(jobId),
          }
        }),
        problems: caller.role === 'admin' ? [...problems] : [],
      }
    },
    async catalogueFetch(caller, id) {
      const { entries } = await catalogue.load()
      const entry = entries.find((candidate) => candidate.id === id)
      if (entry === undefined) throw new EngineError('not_found', 'The catalogue has no such entry.')
      if (fetching.has(id) || downloads.underWay().has(id)) {
        throw new EngineError('conflict', `${entry.name} is being fetched already.`)
      }
      fetching.add(id)
      try {
        const plan = catalogue.plan(entry)
        await vetAll(plan)
        return await downloads.start(personOf(caller), { name: nameOfEntry(entry), plan, catalogue: id })
      } finally {
        fetching.delete(id)
      }
    },
  }
}
