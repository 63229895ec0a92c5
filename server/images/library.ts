/**
 * The image library: what is in it, kept in memory and in the store; adding and removing live beside it
 * (`upload.ts`, `register.ts`, `starters.ts`).
 *
 * Which VMs use an image is asked from the engine (`uses`), and everything between that question and the removal of
 * the record is synchronous, so a VM cannot come to use an image that is being deleted. While a VM is being created
 * its images are pinned.
 */
import { constants, writeFileSync } from 'node:fs'
import { link, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ApplianceId } from '#lib/schema/appliance.ts'
import { ImageId, UserId, VmId } from '#lib/schema/ids.ts'
import type { Image } from '#lib/schema/image.ts'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { readersFile } from '#server/launcher/shapes.ts'
import type { DataPaths } from '#server/paths.ts'
import { syncDir } from '#server/storage/dirs.ts'
import type { Store } from '#server/store/types.ts'
import { guestOfImage, ImageDocument } from './documents.ts'
import { type ImageFacts, inspectImage } from './inspect.ts'
import { fileReader } from './reader.ts'

export interface ImageUse {
  readonly id: string
  readonly name: string
  readonly kind: 'vm' | 'volume'
  readonly ownerId: string
}

export interface LibraryDeps {
  /** Null: it is in the common library. */
  readonly projectOf?: (id: string) => NonNullable<Image['project']> | null
  readonly data: DataPaths
  readonly store: Store
  /** Group of image readers; null when guests share our user. */
  readonly readersGid: number | null
  /** VMs whose stored or launched definition names the image. Synchronous and cheap. */
  readonly uses: (imageId: string) => readonly ImageUse[]
  /** Called after every change; null: it has gone. */
  readonly onChange: (id: string, document: ImageDocument | null) => void
  /** Right before images are recorded, in the same step. @throws EngineError quota_exceeded */
  readonly assertAdoptable?: (images: readonly ImageDocument[]) => void
  readonly warn: (message: string, error?: unknown) => void
}

export interface ImageLibrary {
  /** Reads the store, removes what an interrupted upload or delete left behind. */
  open(): Promise<void>
  get(id: string): ImageDocument | null
  all(): readonly ImageDocument[]
  isPresent(id: string): boolean
  /** Absolute path of the image's file. */
  filePath(document: ImageDocument): string
  /** @param canSee which users of it the caller may be told about */
  view(document: ImageDocument, canSee: (use: ImageUse) => boolean): Image
  /** Checks every file again; cheap (one stat each). */
  refresh(): Promise<void>
  /** Looks at one file now. */
  checkPresent(document: ImageDocument): Promise<boolean>
  /** Keeps an image from being deleted. @returns the release function; idempotent */
  pin(id: string): () => void
  /** Opens, inspects and describes a finished file. @throws EngineError image_refused */
  inspect(path: string): Promise<ImageFacts & { sizeBytes: number; mtimeMs: number }>
  /**
   * Makes a finished temporary file an image: modes, fsync, link, fsync of the directory, the record.
   * On failure the file is where it was or gone, never listed.
   */
  adopt(temporary: string, document: ImageDocument): Promise<void>
  /**
   * The same for several that belong together: all are recorded, or none.
   * @param also further records, stored in the same transaction
   */
  adoptAll(items: readonly { temporary: string; document: ImageDocument }[], also?: () => void): Promise<void>
  /** Stores a record whose file is already in place (registered). */
  put(document: ImageDocument): void
  /** @throws EngineError not_found, in_use (names only what `canSee` allows) */
  remove(id: string, canSee: (use: ImageUse) => boolean): Promise<void>
}

/** Opens nothing but what is there: no link is followed, no pipe waited for. */
export const REGULAR_READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export function createImageLibrary(deps: LibraryDeps): ImageLibrary {
  const { data, store, readersGid } = deps
  const documents = new Map<string, ImageDocument>()
  const present = new Map<string, boolean>()
  const pins = new Map<string, number>()

  const filePath = (document: ImageDocument) => document.path ?? data.image(document.id)

  const looksRight = async (document: ImageDocument): Promise<boolean> => {
    try {
      const facts = await stat(filePath(document))
      if (!facts.isFile() || facts.size !== document.sizeBytes) return false
      return document.path === null || Math.abs(facts.mtimeMs - document.mtimeMs) < 1
    } catch {
      return false
    }
  }

  const checkPresent = async (document: ImageDocument): Promise<boolean> => {
    const is = await looksRight(document)
    if (documents.get(document.id) !== document) return is
    const was = present.get(document.id)
    present.set(document.id, is)
    if (was !== undefined && was !== is) deps.onChange(document.id, document)
    return is
  }

  const put = (document: ImageDocument): void => {
    store.put('image', document.id, document)
    remember(document)
  }

  const remember = (document: ImageDocument): void => {
    documents.set(document.id, document)
    present.set(document.id, true)
    deps.onChange(document.id, document)
  }

  /**
   * Finishes what a crash interrupted. A `.part` file in the upload directory says that its image is half added or
   * half deleted: without a record the image's file goes too. Files nobody announced are left alone and reported,
   * because they may be all that is left after an old database was restored.
   */
  const sweep = async (): Promise<void> => {
    for (const name of await readdir(data.uploadsDir)) {
      if (!name.endsWith('.part')) continue
      const id = name.slice(0, 36)
      if (ImageId.safeParse(id).success && !documents.has(id) && store.get('image', id) === null) {
        await rm(data.image(id), { force: true })
      }
      await rm(join(data.uploadsDir, name), { recursive: true, force: true })
    }
    for (const name of await readdir(data.imagesDir)) {
      if (documents.has(name)) continue
      deps.warn(`The image directory holds ${name}, which no image in the library names. It is left alone.`)
    }
  }

  return {
    async open() {
      for (const { key, value } of store.list('image')) {
        const parsed = ImageDocument.safeParse(value)
        if (parsed.success) documents.set(key, parsed.data)
        else deps.warn(`The stored image ${key} is unreadable and is left out.`, parsed.error)
      }
      await sweep()
      await this.refresh()
    },
    get: (id) => documents.get(id) ?? null,
    all: () => [...documents.values()],
    isPresent: (id) => present.get(id) ?? false,
    filePath,
    view(document, canSee) {
      const project = deps.projectOf?.(document.id) ?? null
      return {
        id: ImageId.parse(document.id),
        name: document.name,
        kind: document.kind,
        format: document.format,
        sizeBytes: document.sizeBytes,
        virtualSizeBytes: document.virtualSizeBytes,
        sha256: document.sha256,
        label: document.label,
        guest: guestOfImage(document),
        os: document.inspected?.os ?? null,
        bootModes: document.inspected?.bootModes ?? null,
        cloudInit: document.inspected?.cloudInit ?? null,
        source: document.source,
        origin: document.origin,
        description: document.description,
        downloadedFrom: document.downloadedFrom,
        catalogue: document.catalogue,
        appliance: document.appliance === null ? null : ApplianceId.parse(document.appliance),
        present: present.get(document.id) ?? false,
        usedBy: deps
          .uses(document.id)
          .filter(canSee)
          .map((use) => ({ id: VmId.parse(use.id), name: use.name })),
        addedBy: { id: UserId.parse(document.addedBy.id), name: document.addedBy.name },
        addedAt: document.addedAt,
        ...(project !== null && { project }),
      }
    },
    async refresh() {
      for (const document of [...documents.values()]) await checkPresent(document)
    },
    checkPresent,
    pin(id) {
      pins.set(id, (pins.get(id) ?? 0) + 1)
      let held = true
      return () => {
        if (!held) return
        held = false
        const left = (pins.get(id) ?? 1) - 1
        if (left === 0) pins.delete(id)
        else pins.set(id, left)
      }
    },
    async inspect(path) {
      const handle = await open(path, REGULAR_READ)
      try {
        const facts = await handle.stat()
        if (!facts.isFile()) throw new EngineError('image_refused', 'This is not a regular file.')
        return { ...(await inspectImage(await fileReader(handle))), sizeBytes: facts.size, mtimeMs: facts.mtimeMs }
      } finally {
        await handle.close()
      }
    },
    async adopt(temporary, document) {
      await this.adoptAll([{ temporary, document }])
    },
    async adoptAll(items, also = () => {}) {
      for (const { temporary } of items) {
        await rootActs().own({ path: temporary, as: readersFile(readersGid), sync: true })
      }
      try {
        // The temporary name stays until the record is stored: it tells the sweep that this file is not yet an image.
        for (const { temporary, document } of items) await link(temporary, data.image(document.id))
        await syncDir(data.imagesDir)
        deps.assertAdoptable?.(items.map(({ document }) => document))
        store.transaction(() => {
          for (const { document } of items) store.put('image', document.id, document)
          also()
        })
      } catch (error) {
        for (const { document } of items) await rm(data.image(document.id), { force: true })
        throw error
      }
      for (const { document } of items) remember(document)
      for (const { temporary } of items) await rm(temporary, { force: true })
    },
    put,
    async remove(id, canSee) {
      const document = documents.get(id)
      if (document === undefined) throw new EngineError('not_found', 'There is no such image.')
      const uses = deps.uses(id)
      if (uses.length > 0 || pins.has(id)) {
        const visible = uses.filter(canSee)
        const others = uses.length - visible.length + (uses.length === 0 ? 1 : 0)
        const names = visible.map((use) => use.name).join(', ')
        const rest = others === 0 ? '' : names === '' ? 'another VM' : ' and others'
        throw new EngineError('in_use', `${document.name} is used by ${names}${rest}. Remove it there first.`, {
          details: { vms: visible.map((use) => ({ id: use.id, name: use.name })) },
        })
      }
      // The marker makes the sweep finish a deletion that a crash interrupts after the record is gone.
      const marker = data.upload(id)
      if (document.path === null) placeMarker(marker)
      store.delete('image', id)
      documents.delete(id)
      present.delete(id)
      deps.onChange(id, null)
      if (document.path === null) {
        await rm(data.image(id), { force: true })
        await syncDir(data.imagesDir)
        await rm(marker, { force: true })
      }
    },
  }
}

/** On a full disk deleting must work all the same; then only a crash in the next moment would leave a file behind. */
function placeMarker(path: string): void {
  try {
    writeFileSync(path, '', { mode: 0o600 })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
  }
}
