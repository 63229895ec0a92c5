/**
 * Takes the disks out of an OVA, each through the door like any other image, and stores a draft of the machine that
 * its description tells of. All of it appears at once, or nothing.
 *
 *   list members → read description → check manifest → for each disk: take out, hash, convert → adopt all + draft
 */
import { createHash, randomUUID, randomUUIDv7 } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Appliance } from '#lib/schema/appliance.ts'
import { EngineError } from '#server/engine/errors.ts'
import { draftOf } from '#server/interop/ova/draft.ts'
import { MAX_MANIFEST_BYTES, type ManifestEntry, readManifest } from '#server/interop/ova/manifest.ts'
import { type OvfMachine, readOvf } from '#server/interop/ova/ovf.ts'
import { listTar, type TarMember } from '#server/interop/ova/tar.ts'
import { MAX_XML_BYTES } from '#server/interop/xml/read-xml.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import type { ImageDocument } from './documents.ts'
import { REGULAR_READ } from './library.ts'
import { type AdmitDeps, type AdmitRequest, documentOf, prepareImage } from './prepare.ts'
import { fileReader } from './reader.ts'

const PIECE_BYTES = 2 ** 20
const CREATE_NEW = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY

interface TakenDisk {
  readonly temporary: string
  readonly document: ImageDocument
}

/**
 * @param source the archive @param firstId of the image that its first disk becomes
 * @returns `firstId`
 * @throws EngineError import_refused, dtd_forbidden, checksum_mismatch, and whatever the door says of a disk
 */
export async function admitAppliance(
  deps: AdmitDeps,
  source: string,
  firstId: string,
  request: AdmitRequest,
  job: JobContext,
): Promise<string> {
  const archive = await open(source, REGULAR_READ)
  const stages: string[] = []
  try {
    const members = await listTar(await fileReader(archive))
    const { machine, manifest } = await readDescription(archive, members)
    const id = randomUUIDv7()
    const taken: (TakenDisk & { diskId: string })[] = []
    for (const disk of machine.disks) {
      const member = members.find(({ name }) => name === disk.member)
      if (member === undefined) continue
      job.step(`Taking out the disk ${taken.length + 1}: ${member.name}.`)
      const imageId = taken.length === 0 ? firstId : randomUUIDv7()
      const stage = deps.data.upload(`${imageId}-${randomUUID().slice(0, 8)}`)
      stages.push(stage)
      const check = manifest.get(member.name)
      const image = await takeDisk(deps, { archive, member, stage, imageId, check }, request, job)
      taken.push({ ...image, document: { ...image.document, appliance: id }, diskId: disk.id })
    }
    const [first] = taken
    if (first === undefined) {
      throw new EngineError(
        'import_refused',
        'The appliance holds no disk with content, so there is nothing to import.',
      )
    }
    const imported = new Map(
      taken.map(({ diskId, document }) => [
        diskId,
        { imageId: document.id, virtualSizeBytes: document.virtualSizeBytes },
      ]),
    )
    const appliance = Appliance.parse({
      id,
      name: request.name,
      ...draftOf(machine, imported, request.name),
      images: taken.map(({ document }) => document.id),
      addedBy: request.owner,
      addedAt: (deps.now ?? (() => new Date()))().toISOString(),
    })
    job.signal.throwIfAborted()
    await deps.library.adoptAll(taken, () => deps.store.put('appliance', id, appliance))
    return first.document.id
  } finally {
    await archive.close()
    for (const stage of stages) await rm(stage, { recursive: true, force: true })
  }
}

async function readDescription(
  archive: FileHandle,
  members: readonly TarMember[],
): Promise<{ machine: OvfMachine; manifest: ReadonlyMap<string, ManifestEntry> }> {
  const names = new Set(members.map(({ name }) => name))
  const [description, second] = members.filter(({ name }) => /\.ovf$/i.test(name))
  if (description === undefined) {
    throw new EngineError(
      'import_refused',
      'This tar archive is no appliance: it has no OVF description. Unpack it and upload the image inside.',
    )
  }
  if (second !== undefined) throw new EngineError('import_refused', 'The archive has two OVF descriptions.')
  if (description.sizeBytes > MAX_XML_BYTES) {
    throw new EngineError('import_refused', 'The OVF description is larger than 1 MiB.')
  }
  const text = await bytesOf(archive, description)
  const list = members.find(({ name }) => /\.mf$/i.test(name))
  let manifest: ReadonlyMap<string, ManifestEntry> = new Map()
  if (list !== undefined) {
    if (list.sizeBytes > MAX_MANIFEST_BYTES) {
      throw new EngineError('import_refused', 'The manifest of the appliance (.mf) is larger than 64 KiB.')
    }
    manifest = readManifest((await bytesOf(archive, list)).toString('utf8'), names)
    const check = manifest.get(description.name)
    if (check !== undefined) compare(description.name, check, createHash(check.algorithm).update(text).digest('hex'))
  }
  return { machine: readOvf(text, names), manifest }
}

/** Only for members whose size was checked. */
async function bytesOf(archive: FileHandle, member: TarMember): Promise<Buffer> {
  const buffer = Buffer.alloc(member.sizeBytes)
  const { bytesRead } = await archive.read(buffer, 0, buffer.length, member.offset)
  return buffer.subarray(0, bytesRead)
}

function compare(name: string, { algorithm, digest }: ManifestEntry, found: string): void {
  if (found === digest) return
  throw new EngineError(
    'checksum_mismatch',
    `${name} does not have the ${algorithm.toUpperCase()} that the appliance’s manifest says, so nothing was kept. Download it again from its source.`,
    { details: { expected: digest, received: found } },
  )
}

interface DiskSource {
  readonly archive: FileHandle
  readonly member: TarMember
  readonly stage: string
  readonly imageId: string
  readonly check: ManifestEntry | undefined
}

async function takeDisk(
  deps: AdmitDeps,
  { archive, member, stage, imageId, check }: DiskSource,
  request: AdmitRequest,
  job: JobContext,
): Promise<TakenDisk> {
  await mkdir(stage, { mode: 0o700 })
  const source = join(stage, 'source')
  const reservation = await deps.space.reserve(member.sizeBytes, 'Taking out the disk')
  try {
    const output = await open(source, CREATE_NEW, 0o600)
    const ours = createHash('sha256')
    const theirs = check === undefined || check.algorithm === 'sha256' ? null : createHash(check.algorithm)
    try {
      const buffer = Buffer.allocUnsafe(PIECE_BYTES)
      for (let done = 0; done < member.sizeBytes; ) {
        job.signal.throwIfAborted()
        const want = Math.min(PIECE_BYTES, member.sizeBytes - done)
        const { bytesRead } = await archive.read(buffer, 0, want, member.offset + done)
        if (bytesRead === 0) throw new EngineError('import_refused', 'The archive is cut off.')
        const piece = buffer.subarray(0, bytesRead)
        ours.update(piece)
        theirs?.update(piece)
        await writeAll(output, piece)
        reservation.consume(bytesRead)
        done += bytesRead
        job.progress(done, member.sizeBytes)
      }
    } finally {
      await output.close()
    }
    const sha256 = ours.digest('hex')
    if (check !== undefined) compare(member.name, check, theirs?.digest('hex') ?? sha256)
    const ready = await prepareImage(deps, stage, source, request, job)
    // What was taken out is not needed any more, unless it is the image itself.
    if (ready.path !== source) await rm(source, { force: true })
    const name = `${request.name.replace(/\.ova$/i, '')} ${member.name}`.slice(0, 255)
    return { temporary: ready.path, document: { ...documentOf(deps, imageId, { ...request, name }, ready), sha256 } }
  } finally {
    reservation.release()
  }
}

async function writeAll(output: FileHandle, piece: Buffer): Promise<void> {
  try {
    for (let done = 0; done < piece.length; ) done += (await output.write(piece, done)).bytesWritten
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    throw new EngineError(
      'no_space',
      'The disk became full while the appliance was unpacked. Make room and try again.',
      {
        cause: error,
      },
    )
  }
}
