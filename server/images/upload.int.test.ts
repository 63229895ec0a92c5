/** Uploads against a real store, real files and, where root allows, a file system that is really full. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import type { JobContext } from '#server/jobs/registry.ts'
import { quietJob } from '#server/jobs/test-context.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDirs } from '#server/storage/dirs.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { createQemuImg } from '#server/storage/qemu-img.ts'
import { createToolSandbox } from '#server/storage/sandbox.ts'
import { createSpaceLedger } from '#server/storage/space.ts'
import { openStore } from '#server/store/sqlite.ts'
import type { ImageDocument } from './documents.ts'
import { createImageLibrary, type ImageUse } from './library.ts'
import { receiveUpload, type UploadRequest } from './upload.ts'

const isRoot = process.getuid?.() === 0
const MiB = 2 ** 20
const OWNER = { id: '01890000-0000-7000-8000-000000000001', name: 'ann' }
const sandbox = await createToolSandbox()
const tools = { sandbox, qemuImg: createQemuImg(sandbox) }
const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

/** A raw disk with a boot signature. */
function disk(sizeBytes: number): Buffer {
  const image = Buffer.alloc(sizeBytes, 0x5a)
  image[510] = 0x55
  image[511] = 0xaa
  return image
}

async function rig(root = mkdtempSync(join(tmpdir(), 'gd-img-')), minimumReserve = 0, uses: ImageUse[] = []) {
  cleanups.push(() => rmSync(root, { recursive: true, force: true }))
  const data = dataPaths(join(root, 'data'))
  const { readersGid } = guestIdentity(isRoot)
  await prepareDataDirs(data, readersGid)
  const store = openStore(data)
  cleanups.push(() => store.close())
  const changes: [string, ImageDocument | null][] = []
  const warnings: string[] = []
  const open = async () => {
    const library = createImageLibrary({
      data,
      store,
      readersGid,
      uses: () => uses,
      onChange: (id, document) => changes.push([id, document]),
      warn: (message) => warnings.push(message),
    })
    await library.open()
    return library
  }
  const library = await open()
  const space = createSpaceLedger(data.root, minimumReserve)
  const upload = (body: Readable, extra: Partial<UploadRequest> = {}, job: Partial<JobContext> = {}): Promise<string> =>
    receiveUpload(
      { ...tools, data, store, library, space },
      { name: 'x.img', sha256: null, body, declaredBytes: null, owner: OWNER, ...extra },
      quietJob(job),
    )
  const leftovers = () => [...readdirSync(data.uploadsDir), ...readdirSync(data.imagesDir)]
  return { data, store, library, open, space, upload, leftovers, changes, warnings, readersGid }
}

const pieces = (image: Buffer, size = 65_536) =>
  Readable.from(
    (function* () {
      for (let at = 0; at < image.length; at += size) yield image.subarray(at, at + size)
    })(),
    { objectMode: false },
  )

describe('an upload that arrives', () => {
  it('becomes an image with its checksum, private modes and no temporary file', async () => {
    const { upload, library, data, leftovers, readersGid, changes } = await rig()
    const image = disk(5 * MiB + 512)
    const sha256 = createHash('sha256').update(image).digest('hex')
    const id = await upload(pieces(image), { sha256, declaredBytes: image.length })
    expect(leftovers()).toEqual([id])
    expect(readFileSync(data.image(id)).equals(image)).toBe(true)
    const facts = statSync(data.image(id))
    expect(facts.mode & 0o777).toBe(readersGid === null ? 0o600 : 0o640)
    if (readersGid !== null) expect([facts.uid, facts.gid]).toEqual([0, readersGid])
    const document = library.get(id)
    expect(document).toMatchObject({ sha256, sizeBytes: image.length, format: 'raw', kind: 'disk' })
    expect(changes.map(([changed]) => changed)).toEqual([id])
  })
  it('is still there for the next server run', async () => {
    const { upload, open } = await rig()
    const id = await upload(pieces(disk(MiB)))
    const again = await open()
    expect(again.get(id)?.name).toBe('x.img')
    expect(again.isPresent(id)).toBe(true)
  })
  it.runIf(existsSync('/dev/shm'))('costs little more than its checksum', async () => {
    // In memory, because a shared disk's speed says nothing about us.
    const { upload } = await rig(mkdtempSync('/dev/shm/gd-img-'))
    const chunk = randomBytes(65_536)
    const count = 3072
    const used = () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1000
    }
    const hashedAt = used()
    const hash = createHash('sha256')
    for (let n = 0; n < count; n++) hash.update(chunk)
    hash.digest()
    const hashMs = used() - hashedAt
    const first = Buffer.from(chunk)
    first[510] = 0x55
    first[511] = 0xaa
    const body = Readable.from(
      (function* () {
        yield first
        // Copies: what is uploaded is taken over.
        for (let n = 1; n < count; n++) yield Buffer.from(chunk)
      })(),
      { objectMode: false },
    )
    const startedAt = used()
    await upload(body, { declaredBytes: count * chunk.length })
    const uploadMs = used() - startedAt
    console.log(
      `upload ${((count * chunk.length) / 1e3 / uploadMs).toFixed(0)} MB/s, hash ${((count * chunk.length) / 1e3 / hashMs).toFixed(0)} MB/s`,
    )
    expect(uploadMs).toBeLessThan(6 * hashMs)
  })
})

describe('an upload that fails leaves nothing', () => {
  it('when the connection breaks half way (U03)', async () => {
    const { upload, leftovers, library, space } = await rig()
    const body = new Readable({ read() {} })
    body.push(disk(2 * MiB))
    const result = upload(body, { declaredBytes: 4 * MiB })
    setTimeout(() => body.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' })), 50)
    await expect(result).rejects.toMatchObject({ code: 'bad_input' })
    expect(leftovers()).toEqual([])
    expect(library.all()).toEqual([])
    expect(space.outstandingBytes).toBe(0)
  })
  it('when it ends before the declared length', async () => {
    const { upload, leftovers } = await rig()
    await expect(upload(pieces(disk(MiB)), { declaredBytes: 2 * MiB })).rejects.toMatchObject({ code: 'bad_input' })
    expect(leftovers()).toEqual([])
  })
  it('when it is longer than declared (U06)', async () => {
    const { upload, leftovers } = await rig()
    await expect(upload(pieces(disk(2 * MiB)), { declaredBytes: MiB })).rejects.toMatchObject({ code: 'too_large' })
    expect(leftovers()).toEqual([])
  })
  it('when the checksum differs (U08)', async () => {
    const { upload, leftovers } = await rig()
    await expect(upload(pieces(disk(MiB)), { sha256: '0'.repeat(64) })).rejects.toMatchObject({
      code: 'checksum_mismatch',
    })
    expect(leftovers()).toEqual([])
  })
  it('when the content is refused', async () => {
    const { upload, leftovers } = await rig()
    const hostile = Buffer.alloc(65_536)
    hostile.write('QED\0', 0, 'latin1')
    await expect(upload(pieces(hostile))).rejects.toMatchObject({ code: 'unsupported_format' })
    expect(leftovers()).toEqual([])
  })
  it('when it is cancelled, even while nothing arrives', async () => {
    const { upload, leftovers } = await rig()
    const controller = new AbortController()
    const body = new Readable({ read() {} })
    body.push(disk(MiB))
    const result = upload(body, { declaredBytes: 8 * MiB }, { signal: controller.signal })
    setTimeout(() => controller.abort(), 30)
    await expect(result).rejects.toMatchObject({ code: 'conflict' })
    expect(leftovers()).toEqual([])
  })
  it('and the rest of the body can still be read away, so that the client gets its answer', async () => {
    const { upload } = await rig()
    const body = pieces(disk(4 * MiB))
    await expect(upload(body, { declaredBytes: MiB })).rejects.toMatchObject({ code: 'too_large' })
    expect(body.destroyed).toBe(false)
    let rest = 0
    for await (const chunk of body) rest += chunk.length
    expect(rest).toBeGreaterThan(0)
  })
})

describe('room', () => {
  it('more than there is is refused before a byte is read (U05)', async () => {
    const { upload, leftovers } = await rig()
    let touched = false
    const body = new Readable({
      read() {
        touched = true
      },
    })
    await expect(upload(body, { declaredBytes: 2 ** 43 })).rejects.toMatchObject({ code: 'no_space' })
    expect(touched).toBe(false)
    expect(leftovers()).toEqual([])
  })
  it('two uploads that fit alone but not together: the second is refused (U05)', async () => {
    const { space, upload } = await rig()
    const { bavail, bsize } = await import('node:fs').then((fs) => fs.statfsSync(tmpdir()))
    const most = Math.floor(bavail * bsize * 0.45)
    const first = await space.reserve(most, 'The test')
    await expect(upload(new Readable({ read() {} }), { declaredBytes: most })).rejects.toMatchObject({
      code: 'no_space',
    })
    first.release()
    expect(space.outstandingBytes).toBe(0)
  })
  it.runIf(isRoot)('a disk that fills up during an upload of unknown length (F27)', async () => {
    const root = mkdtempSync(join(tmpdir(), 'gd-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m,mode=0711', 'tmpfs', root])
    cleanups.push(() => {
      execFileSync('umount', ['-l', root])
      rmSync(root, { recursive: true, force: true })
    })
    const { upload, leftovers, space } = await rig(join(root, 'd'))
    let sent = 0
    const endless = new Readable({
      read() {
        sent += 65_536
        this.push(Buffer.alloc(65_536))
      },
    })
    await expect(upload(endless)).rejects.toMatchObject({ code: 'no_space' })
    endless.destroy()
    expect(sent).toBeLessThan(80 * MiB)
    expect(leftovers()).toEqual([])
    expect(space.outstandingBytes).toBe(0)
    // And again with the ledger out of the way: the file system's own refusal.
    writeFileSync(join(root, 'ballast'), Buffer.alloc(30 * MiB))
    const blind = { reserve: async () => ({ consume() {}, extend: async () => {}, release() {} }), outstandingBytes: 0 }
    const fresh = await rig(join(root, 'e'))
    await expect(
      receiveUpload(
        { ...tools, data: fresh.data, store: fresh.store, library: fresh.library, space: blind },
        { name: 'x', sha256: null, body: pieces(disk(20 * MiB)), declaredBytes: 20 * MiB, owner: OWNER },
        quietJob(),
      ),
    ).rejects.toMatchObject({ code: 'no_space' })
    expect(fresh.leftovers()).toEqual([])
  })
})

describe('crashes and planted files', () => {
  it('what an interrupted upload left is swept at the next start, an image nobody announced is not', async () => {
    const { data, open, leftovers, warnings } = await rig()
    const half = '01890000-0000-7000-8000-0000000000aa'
    const orphan = '01890000-0000-7000-8000-0000000000bb'
    writeFileSync(data.upload(`${half}-12345678`), 'partial')
    writeFileSync(data.image(half), 'linked but never recorded')
    writeFileSync(data.image(orphan), 'from an older database')
    await open()
    expect(leftovers()).toEqual([orphan])
    expect(warnings.join()).toContain(orphan)
  })
  it('a deletion that was interrupted after the record went is finished at the next start (F11)', async () => {
    const { upload, data, store, open, leftovers } = await rig()
    const id = await upload(pieces(disk(MiB)))
    writeFileSync(data.upload(id), '')
    store.delete('image', id)
    await open()
    expect(leftovers()).toEqual([])
  })
  it('a deletion that was interrupted before that did not happen (F11)', async () => {
    const { upload, data, open, leftovers } = await rig()
    const id = await upload(pieces(disk(MiB)))
    writeFileSync(data.upload(id), '')
    expect((await open()).isPresent(id)).toBe(true)
    expect(leftovers()).toEqual([id])
  })
  it('deleting an image removes record and file, and is refused while a VM uses or is about to use it (I19)', async () => {
    const uses: ImageUse[] = []
    const { upload, library, leftovers, store } = await rig(undefined, 0, uses)
    const id = await upload(pieces(disk(MiB)))
    uses.push({ kind: 'vm', id: '01890000-0000-7000-8000-0000000000cc', name: 'web', ownerId: 'o' })
    await expect(library.remove(id, () => true)).rejects.toMatchObject({
      code: 'in_use',
      message: expect.stringContaining('web'),
    })
    await expect(library.remove(id, () => false)).rejects.toSatisfy((error: Error) => !error.message.includes('web'))
    uses.length = 0
    const release = library.pin(id)
    await expect(library.remove(id, () => true)).rejects.toMatchObject({ code: 'in_use' })
    release()
    await library.remove(id, () => true)
    expect(leftovers()).toEqual([])
    expect(store.list('image')).toEqual([])
  })
  it('an image whose file went is shown as not present', async () => {
    const { upload, library, data } = await rig()
    const id = await upload(pieces(disk(MiB)))
    rmSync(data.image(id))
    await library.refresh()
    expect(library.isPresent(id)).toBe(false)
    expect(existsSync(data.image(id))).toBe(false)
    mkdirSync(data.image(id))
    await library.refresh()
    expect(library.isPresent(id)).toBe(false)
  })
})
