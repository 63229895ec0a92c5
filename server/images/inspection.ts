/**
 * Looks into library images: which system is inside, how it starts. A raw file is read as it lies; a qcow2 one through
 * the sandboxed reader. What cannot be told stays unknown and keeps nothing from being added.
 */
import { open } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import { detect } from '#server/filesystems/detect.ts'
import { type Bytes, cached, within } from '#server/filesystems/types.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import type { DiskReader } from '#server/storage/disk-reader.ts'
import type { Inspection } from './documents.ts'
import { type ImageLibrary, REGULAR_READ } from './library.ts'
import { fileReader } from './reader.ts'

/** Raised whenever more is found than before, so that images are looked into again. */
const VERSION = 1
const LOOK_MS = 60_000
const MAX_READ_BYTES = 256 * 2 ** 20
const MAX_READS = 20_000

interface Looked {
  readonly kind: 'iso' | 'disk'
  readonly format: 'raw' | 'qcow2'
}

export interface ImageInspector {
  /** @throws whatever reading throws; the signal's reason */
  look(path: string, facts: Looked, signal: AbortSignal): Promise<Inspection>
}

export function createImageInspector(disks: DiskReader): ImageInspector {
  const seen = async (bytes: Bytes, kind: Looked['kind'], signal: AbortSignal): Promise<Inspection> => {
    const bounded = within(cached(bytes), { maxBytes: MAX_READ_BYTES, maxReads: MAX_READS }, signal)
    const { os, bootModes, cloudInit } = await detect(bounded, kind)
    return { by: VERSION, os, bootModes: [...bootModes], cloudInit }
  }
  return {
    async look(path, { kind, format }, outer) {
      const signal = AbortSignal.any([outer, AbortSignal.timeout(LOOK_MS)])
      if (format === 'qcow2') {
        await using disk = await disks.open({ chain: [{ path, format }] }, signal)
        return await seen(disk, kind, signal)
      }
      const handle = await open(path, REGULAR_READ)
      try {
        return await seen(await fileReader(handle), kind, signal)
      } finally {
        await handle.close()
      }
    },
  }
}

/** A step of adding an image. @returns null when it could not be read: it is tried again later */
export async function lookInside(
  inspector: ImageInspector | undefined,
  path: string,
  facts: Looked,
  job: Pick<JobContext, 'signal' | 'step'>,
): Promise<Inspection | null> {
  if (inspector === undefined) return null
  job.step('Looking which system is inside.')
  try {
    return await inspector.look(path, facts, job.signal)
  } catch (error) {
    job.signal.throwIfAborted()
    // A disk that QEMU cannot open was refused by the door already; what is left are hiccups of this host.
    if (error instanceof EngineError || (error instanceof DOMException && error.name === 'TimeoutError')) return null
    throw error
  }
}

/** Images added before there was this reader, or an older one: one after the other, while nothing waits for it. */
export async function inspectOld(
  library: ImageLibrary,
  inspector: ImageInspector,
  signal: AbortSignal,
  warn: (message: string, error?: unknown) => void,
): Promise<void> {
  for (const { id } of library.all()) {
    const document = library.get(id)
    if (signal.aborted) return
    if (document === null || !library.isPresent(id) || (document.inspected?.by ?? 0) >= VERSION) continue
    try {
      const inspected = await inspector.look(library.filePath(document), document, signal)
      const now = library.get(id)
      if (now !== null) library.put({ ...now, inspected })
    } catch (error) {
      if (signal.aborted) return
      warn(`The image ${document.name} could not be looked into; that is tried again at the next start.`, error)
    }
  }
}
