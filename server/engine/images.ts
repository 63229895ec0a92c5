/** The image library as the API knows it. */
import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { mkdir, open, rm, stat } from 'node:fs/promises'
import { privilegesOn } from '#lib/auth/privileges.ts'
import type { Image, Starter } from '#lib/schema/image.ts'
import type { ImageInspector } from '#server/images/inspection.ts'
import type { Intake } from '#server/images/intake.ts'
import type { ImageLibrary, ImageUse } from '#server/images/library.ts'
import { cleanDescription, cleanImageName } from '#server/images/names.ts'
import { buildNetbootIso, findNetboot } from '#server/images/netboot-iso.ts'
import { checkRegistration, listSources, nameOfPath, registerFile } from '#server/images/register.ts'
import { findStarter, STARTERS } from '#server/images/starters.ts'
import { receiveUpload } from '#server/images/upload.ts'
import type { JobRegistry } from '#server/jobs/registry.ts'
import type { DataPaths } from '#server/paths.ts'
import type { QemuImg } from '#server/storage/qemu-img.ts'
import type { ToolSandbox } from '#server/storage/sandbox.ts'
import type { SpaceLedger } from '#server/storage/space.ts'
import type { Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller, ImageEngine } from './types.ts'

export interface ImageEngineDeps {
  readonly data: DataPaths
  readonly store: Store
  readonly library: ImageLibrary
  readonly jobs: JobRegistry
  readonly space: SpaceLedger
  readonly journal: Journal
  readonly sandbox: ToolSandbox
  readonly qemuImg: QemuImg
  readonly inspector: ImageInspector
  readonly intake: Intake
  readonly imageDirs: readonly string[]
  readonly readersGid: number | null
}

const MAX_UPLOADS = 16
const BUILD_TIMEOUT_MS = 120_000

const INSTALLER = {
  id: 'debian-netinst',
  name: 'Debian installer',
  purpose: 'Installs Debian 12 over the network; needs a network card that reaches a mirror.',
  package: 'debian-installer-12-netboot-amd64',
} as const

export const usersVisibleTo = (caller: Pick<Caller, 'role' | 'userId' | 'scope' | 'grants'>) => (use: ImageUse) =>
  privilegesOn(caller, { kind: use.kind, id: use.id, ownerId: use.ownerId }).size > 0

/** Those in no project are everybody's. */
export const canSeeImage = (
  caller: Pick<Caller, 'role' | 'userId' | 'scope' | 'grants'>,
  { id, addedBy }: { readonly id: string; readonly addedBy: { readonly id: string } },
): boolean => privilegesOn(caller, { kind: 'image', id, ownerId: addedBy.id }).has('image.view')

export function createImageEngine(deps: ImageEngineDeps): ImageEngine {
  const { data, store, library, jobs, space, journal, qemuImg, sandbox, inspector, intake } = deps
  let uploads = 0

  const viewOf = (caller: Caller, id: string): Image => {
    const document = library.get(id)
    if (document === null || !canSeeImage(caller, document))
      throw new EngineError('not_found', 'There is no such image.')
    return library.view(document, usersVisibleTo(caller))
  }
  const ownerOf = (caller: Caller) => ({ id: caller.userId, name: caller.name })
  const note = (what: string, caller: Caller, text: string, name: string, id?: string, failed = false): void =>
    journal.write({
      what,
      text,
      result: failed ? 'failed' : 'ok',
      caller,
      topic: 'image',
      objectName: name,
      ...(id !== undefined && { objectId: id }),
    })
  const messageOf = (error: unknown) =>
    error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'

  /** Of one that said nothing of its length: which quota ended it. */
  const beyondQuota = (error: unknown, imageId: string, mostBytes: number | null): unknown => {
    if (mostBytes === null || !(error instanceof EngineError) || error.code !== 'too_large') return error
    try {
      intake.resize(imageId, mostBytes + 1)
      return error
    } catch (why) {
      return why
    }
  }

  const receive = async (
    caller: Caller,
    what: string,
    request: Omit<Parameters<typeof receiveUpload>[1], 'owner'>,
    kind: 'image-upload' | 'starter-add',
  ): Promise<Image> => {
    if (uploads >= MAX_UPLOADS) {
      throw new EngineError('busy', `${MAX_UPLOADS} uploads are under way. Try again when one is done.`)
    }
    const imageId = randomUUIDv7()
    const mostBytes = intake.roomFor(caller.userId)
    intake.begin(imageId, caller.userId, request.declaredBytes ?? 0)
    uploads += 1
    try {
      const job = jobs.start({
        kind,
        title: request.name,
        owner: { userId: caller.userId, name: caller.name },
        totalBytes: request.declaredBytes,
        work: (context) =>
          receiveUpload(
            { data, store, library, space, qemuImg, sandbox, inspector },
            { ...request, id: imageId, mostBytes, owner: ownerOf(caller) },
            context,
          ),
      })
      const id = await job.finished
      note(what, caller, `${caller.name} added the image ${request.name}.`, request.name, id)
      return viewOf(caller, id)
    } catch (error) {
      const why = beyondQuota(error, imageId, request.declaredBytes === null ? mostBytes : null)
      note(what, caller, `The image ${request.name} was not added: ${messageOf(why)}`, request.name, undefined, true)
      throw why
    } finally {
      uploads -= 1
      intake.end(imageId)
    }
  }

  const findInstaller = async (): Promise<Starter> => {
    const netboot = await findNetboot()
    const added = library.all().find((document) => document.starter === INSTALLER.id)
    return {
      ...INSTALLER,
      available: netboot.available,
      detail: netboot.available ? '' : netboot.reason,
      installCommand: netboot.available ? null : `apt-get install ${netboot.packages.join(' ')}`,
      sizeBytes: netboot.available ? netboot.sizeBytes : null,
      image: added === undefined ? null : library.view(added, () => false).id,
    }
  }

  /** The medium does not exist yet: make it in a directory of its own, then add it like the others. */
  const addInstaller = async (caller: Caller): Promise<Image> => {
    const netboot = await findNetboot()
    if (!netboot.available) throw new EngineError('image_missing', netboot.reason)
    const reservation = await space.reserve(2 * netboot.sizeBytes, 'The medium')
    // Named like an upload, so that the sweep at start knows it.
    const stage = data.upload(randomUUID())
    try {
      await mkdir(stage, { mode: 0o700 })
      const iso = await buildNetbootIso(deps.sandbox, netboot, stage, AbortSignal.timeout(BUILD_TIMEOUT_MS))
      reservation.release()
      return await receive(
        caller,
        'starterAdd',
        {
          name: 'debian-netboot.iso',
          sha256: null,
          body: createReadStream(iso, { highWaterMark: 2 ** 20 }),
          declaredBytes: (await stat(iso)).size,
          starter: INSTALLER.id,
        },
        'starter-add',
      )
    } finally {
      reservation.release()
      await rm(stage, { recursive: true, force: true })
    }
  }

  const starterView = async (starter: (typeof STARTERS)[number]): Promise<Starter> => {
    const found = await findStarter(starter)
    const added = library.all().find((document) => document.starter === starter.id)
    return {
      id: starter.id,
      name: starter.name,
      purpose: starter.purpose,
      package: starter.package,
      available: found !== null,
      detail: found === null ? `The package ${starter.package} is not installed on the host.` : '',
      installCommand: found === null ? `apt-get install ${starter.package}` : null,
      sizeBytes: found?.sizeBytes ?? null,
      image: added === undefined ? null : library.view(added, () => false).id,
    }
  }

  const adding = new Map<string, Promise<Image>>()
  const addStarter = async (caller: Caller, id: string): Promise<Image> => {
    const present = library.all().find((document) => document.starter === id)
    if (present !== undefined && library.isPresent(present.id)) return viewOf(caller, present.id)
    if (id === INSTALLER.id) return addInstaller(caller)
    const starter = STARTERS.find((candidate) => candidate.id === id)
    const found = starter === undefined ? null : await findStarter(starter)
    if (starter === undefined || found === null) {
      throw new EngineError(
        'image_missing',
        starter === undefined
          ? 'This starter is not offered on this host.'
          : `The package ${starter.package} is not installed on the host. Install it: apt-get install ${starter.package}`,
      )
    }
    return receive(
      caller,
      'starterAdd',
      {
        name: starter.fileName,
        sha256: null,
        body: createReadStream(found.path, { highWaterMark: 2 ** 20 }),
        declaredBytes: found.sizeBytes,
        starter: starter.id,
      },
      'starter-add',
    )
  }

  return {
    async list(caller) {
      const canSee = usersVisibleTo(caller)
      return {
        items: library
          .all()
          .filter((document) => canSeeImage(caller, document))
          .map((document) => library.view(document, canSee)),
      }
    },
    view: async (caller, id) => viewOf(caller, id),
    async upload(caller, query, body, declaredBytes) {
      const name = cleanImageName(query.name)
      return receive(caller, 'imageUpload', { name, sha256: query.sha256 ?? null, body, declaredBytes }, 'image-upload')
    },
    async register(caller, input) {
      const registration = { library, imageDirs: deps.imageDirs, readersGid: deps.readersGid, inspector }
      const name = cleanImageName(input.name ?? nameOfPath(input.path))
      const file = await checkRegistration(registration, input.path)
      const job = jobs.start({
        kind: 'image-register',
        title: name,
        owner: { userId: caller.userId, name: caller.name },
        totalBytes: file.sizeBytes,
        async work(context) {
          try {
            const request = { file, name, owner: ownerOf(caller), addedAt: new Date().toISOString() }
            const id = await registerFile(registration, request, context)
            note('imageRegister', caller, `${caller.name} registered the image ${name}.`, name, id)
            return id
          } catch (error) {
            note(
              'imageRegister',
              caller,
              `The file ${name} was not registered: ${messageOf(error)}`,
              name,
              undefined,
              true,
            )
            throw error
          }
        },
      })
      return job.view()
    },
    sources: () => listSources(deps.imageDirs),
    async starters() {
      return { items: await Promise.all([...STARTERS.map(starterView), findInstaller()]) }
    },
    async addStarter(caller, id) {
      // Two people who press the button at once get one image.
      const underWay = adding.get(id)
      if (underWay !== undefined) return viewOf(caller, (await underWay).id)
      const added = addStarter(caller, id)
      adding.set(id, added)
      try {
        return await added
      } finally {
        adding.delete(id)
      }
    },
    async update(caller, id, { name, description }) {
      const before = library.get(id)
      if (before === null) throw new EngineError('not_found', 'There is no such image.')
      const after = {
        ...before,
        ...(name !== undefined && { name: cleanImageName(name) }),
        ...(description !== undefined && { description: cleanDescription(description) }),
      }
      library.put(after)
      const what =
        before.name === after.name ? `described the image ${after.name}` : `renamed ${before.name} to ${after.name}`
      note('imageUpdate', caller, `${caller.name} ${what}.`, after.name, id)
      return viewOf(caller, id)
    },
    async content(_caller, id, rangeOf, withBody) {
      const document = library.get(id)
      if (document === null) throw new EngineError('not_found', 'There is no such image.')
      if (!(await library.checkPresent(document))) {
        throw new EngineError('image_missing', `The file of ${document.name} has gone or changed since it was added.`)
      }
      const range = rangeOf(document.sizeBytes)
      const file = { name: document.name, sizeBytes: document.sizeBytes, range }
      if (!withBody) return { ...file, body: null }
      // Of a file deleted meanwhile the rest is still read.
      const handle = await open(library.filePath(document), constants.O_RDONLY | constants.O_NOFOLLOW)
      const { from, to } = range ?? { from: 0, to: document.sizeBytes - 1 }
      return { ...file, body: handle.createReadStream({ start: from, end: to, highWaterMark: 2 ** 20 }) }
    },
    async delete(caller, id) {
      const name = library.get(id)?.name ?? id
      try {
        await library.remove(id, usersVisibleTo(caller))
        note('imageDelete', caller, `${caller.name} deleted the image ${name}.`, name, id)
      } catch (error) {
        if (!(error instanceof EngineError && error.code === 'not_found')) {
          note('imageDelete', caller, `The image ${name} was not deleted: ${messageOf(error)}`, name, id, true)
        }
        throw error
      }
    },
  }
}
