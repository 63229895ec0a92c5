/**
 * Registering a file where it is: only below directories the administrator allowed in the configuration, compared
 * after every symbolic link is resolved. The file is inspected at once and hashed as a job.
 */
import { randomUUIDv7 } from 'node:crypto'
import type { Stats } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { basename, isAbsolute, join, sep } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { sha256OfFile } from '#server/platform/hash-thread.ts'
import type { ImageDocument } from './documents.ts'
import { type ImageInspector, lookInside } from './inspection.ts'
import type { ImageLibrary } from './library.ts'

export interface ImageSources {
  directories: { path: string; state: 'ok' | 'missing' | 'denied' }[]
  files: { path: string; sizeBytes: number }[]
}

const MAX_LISTED = 1000
const MAX_DEPTH = 4

/** Regular files in the allowed directories, at most 1000, four levels deep, links not followed, sorted by path. */
export async function listSources(imageDirs: readonly string[]): Promise<ImageSources> {
  const sources: ImageSources = { directories: [], files: [] }
  for (const dir of imageDirs) {
    try {
      await collect(dir, 0, sources.files)
      sources.directories.push({ path: dir, state: 'ok' })
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null
      sources.directories.push({ path: dir, state: code === 'ENOENT' || code === 'ENOTDIR' ? 'missing' : 'denied' })
    }
  }
  sources.files.sort((a, b) => (a.path < b.path ? -1 : 1))
  return sources
}

async function collect(dir: string, depth: number, files: ImageSources['files']): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (files.length >= MAX_LISTED) return
    if (entry.name.startsWith('.')) continue
    const path = join(dir, entry.name)
    if (entry.isDirectory()) {
      // A subdirectory we may not read hides its files, no more.
      if (depth + 1 < MAX_DEPTH) await collect(path, depth + 1, files).catch(() => {})
    } else if (entry.isFile()) {
      const facts = await stat(path).catch(() => null)
      if (facts !== null && facts.size > 0) files.push({ path, sizeBytes: facts.size })
    }
  }
}

export interface RegisterDeps {
  readonly library: ImageLibrary
  readonly imageDirs: readonly string[]
  readonly readersGid: number | null
  /** Left out: images are looked into later. */
  readonly inspector?: ImageInspector
}

export interface CheckedFile {
  readonly path: string
  readonly sizeBytes: number
}

/**
 * Resolves and judges the path of a file in an allowed directory; quick.
 * @throws EngineError image_missing, forbidden, image_refused
 */
export async function checkSource(imageDirs: readonly string[], path: string): Promise<CheckedFile> {
  const refuse = (code: 'image_missing' | 'image_refused', message: string): never => {
    throw new EngineError(code, message, { field: 'path' })
  }
  if (!isAbsolute(path) || /[\0\n\r]/.test(path)) {
    throw new EngineError('bad_input', 'The path must be absolute.', { field: 'path' })
  }
  const outside =
    'The file is not in a directory whose files may be registered. The administrator of this host lists them in GUESTDECK_IMAGE_DIRS.'
  // Judge the text first, so that a path outside says nothing about what exists there.
  const roots = await Promise.all(imageDirs.map((dir) => realpath(dir).catch(() => null)))
  const below = (candidate: string, root: string) => candidate.startsWith(root.endsWith(sep) ? root : root + sep)
  if (![...imageDirs, ...roots].some((root) => root !== null && below(path, root))) {
    throw new EngineError('forbidden', outside, { field: 'path' })
  }
  const real = await realpath(path).catch(() => refuse('image_missing', 'There is no such file.'))
  if (!roots.some((root) => root !== null && below(real, root))) {
    throw new EngineError('forbidden', `${outside} This path leads outside of them by a link.`, { field: 'path' })
  }
  const facts: Stats = await stat(real)
  if (!facts.isFile()) refuse('image_refused', 'This is not a regular file.')
  return { path: real, sizeBytes: facts.size }
}

/**
 * The same for a file that is to be used where it is: guests have to be able to read it.
 * @throws EngineError image_missing, forbidden, image_refused, conflict
 */
export async function checkRegistration(deps: RegisterDeps, path: string): Promise<CheckedFile> {
  const file = await checkSource(deps.imageDirs, path)
  if (deps.library.all().some((document) => document.path === file.path)) {
    throw new EngineError('conflict', 'This file is already in the library.', { field: 'path' })
  }
  const { readersGid } = deps
  // Where guests share our user, we have just read it ourselves.
  if (readersGid !== null && !(await rootActs().canGuestsRead({ path: file.path, readersGid }))) {
    throw new EngineError(
      'image_refused',
      'Guests run as users of their own and cannot read this file. Make it readable for everybody (chmod o+r), and its directories passable (chmod o+x).',
      { field: 'path' },
    )
  }
  return file
}

export interface RegisterRequest {
  readonly file: CheckedFile
  /** Cleaned. */
  readonly name: string
  readonly owner: { readonly id: string; readonly name: string }
  readonly addedAt: string
}

/** Inspects and hashes; the image appears when both are done. @returns its id @throws EngineError image_refused */
export async function registerFile(deps: RegisterDeps, request: RegisterRequest, job: JobContext): Promise<string> {
  const { path } = request.file
  const before = await deps.library.inspect(path)
  const sha256 = await sha256OfFile(path, job.signal, job.progress)
  const after = await stat(path)
  if (after.mtimeMs !== before.mtimeMs || after.size !== before.sizeBytes) {
    throw new EngineError(
      'image_refused',
      'The file changed while it was being read. Register it again when nothing writes to it.',
    )
  }
  if (deps.library.all().some((document) => document.path === path)) {
    throw new EngineError('conflict', 'This file is already in the library.', { field: 'path' })
  }
  const document: ImageDocument = {
    v: 1,
    id: randomUUIDv7(),
    name: request.name,
    kind: before.kind,
    format: before.format,
    sizeBytes: before.sizeBytes,
    virtualSizeBytes: before.virtualSizeBytes,
    sha256,
    label: before.label,
    guest: before.guest,
    source: 'registered',
    starter: null,
    path,
    mtimeMs: before.mtimeMs,
    addedBy: request.owner,
    addedAt: request.addedAt,
    origin: null,
    description: '',
    downloadedFrom: null,
    catalogue: null,
    appliance: null,
    inspected: await lookInside(deps.inspector, path, before, job),
  }
  deps.library.put(document)
  return document.id
}

/** Name an image gets when none is given. */
export const nameOfPath = (path: string): string => basename(path)
