/**
 * kill -9 of the dashboard at named points while an image arrives, a disk is converted, and things are deleted: each is
 * whole, absent or goes on afterwards, and no file is left that nobody knows.
 */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Volume, VolumeDetail } from '#lib/schema/storage.ts'
import type { UploadSession } from '#lib/schema/transfer.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { Dashboard, storedDocuments } from '#server/testing/dashboard.ts'
import { dir } from '#server/testing/process-rig.ts'

/** A file becomes an image: checked, under its second name, on record, rid of its first name. */
const ARRIVAL = ['^link .*/images/', '^= image', '^- (upload|download)']
const PATIENCE = { timeout: 180_000 }
const bytes = randomBytes(2 ** 20)
bytes.write('U\xaa', 510, 'latin1')
const sha256 = createHash('sha256').update(bytes).digest('hex')

const mirror = createServer((_, response) =>
  response.writeHead(200, { etag: '"1"', 'accept-ranges': 'bytes', 'content-length': bytes.length }).end(bytes),
)
let allowed = ''
beforeAll(async () => {
  await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve))
  allowed = `127.0.0.1:${(mirror.address() as AddressInfo).port}`
})
afterAll(() => void mirror.close())

const list = (name: string) => readdirSync(join(dir, 'd', name)).sort()
const images = (deck: Dashboard) => deck.items<Image>('/images')

/** What the library shows is there to the last byte, and nothing else is. */
async function expectWholeImages(deck: Dashboard): Promise<Image[]> {
  const shown = await images(deck)
  expect(list('images')).toEqual(shown.map(({ id }) => id).sort())
  for (const { id } of shown) {
    const content = readFileSync(join(dir, 'd/images', id))
    expect(createHash('sha256').update(content).digest('hex')).toBe(sha256)
  }
  return shown
}

test('an upload or a download that is killed at any point of becoming an image ends as that one image (F08)', async () => {
  using deck = await Dashboard.start({ GUESTDECK_DOWNLOAD_ALLOW: allowed })
  const tus = { 'tus-resumable': '1.0.0' }
  const begin = async (): Promise<string> => {
    const metadata = `filename ${Buffer.from('x.img').toString('base64')}`
    const headers = { ...tus, 'upload-length': String(bytes.length), 'upload-metadata': metadata }
    return ((await (await deck.send('POST', '/images/uploads', headers)).json()) as UploadSession).id
  }
  const append = (id: string, offset: number) => {
    const headers = { ...tus, 'content-type': 'application/offset+octet-stream', 'upload-offset': String(offset) }
    return deck.send('PATCH', `/images/uploads/${id}`, headers, bytes.subarray(offset))
  }
  for (const at of ARRIVAL) {
    const id = await begin()
    await deck.dieAt({ at }, () => append(id, 0))
    await expectWholeImages(deck)
    const [left] = await deck.items<UploadSession>('/images/uploads')
    if (left !== undefined && left.offsetBytes < bytes.length) await append(id, left.offsetBytes)
    await expect.poll(async () => (await images(deck)).length, { ...PATIENCE, message: at }).toBe(1)
    await expectWholeImages(deck)
    await expect.poll(() => list('uploads'), { ...PATIENCE, message: at }).toEqual([])
    await deck.ask('DELETE', `/images/${(await images(deck))[0]?.id}`)
  }
  for (const at of ARRIVAL) {
    await deck.dieAt({ at }, () => deck.ask('POST', '/images/download', { url: `http://${allowed}/x.img` }))
    await expectWholeImages(deck)
    await expect.poll(async () => (await images(deck)).length, { ...PATIENCE, message: at }).toBe(1)
    await expectWholeImages(deck)
    await expect.poll(() => list('uploads'), { ...PATIENCE, message: at }).toEqual([])
    await deck.ask('DELETE', `/images/${(await images(deck))[0]?.id}`)
  }
}, 600_000)

interface Layer {
  readonly file: string
}
const layers = (): string[] =>
  storedDocuments<Layer>('layer')
    .map(({ value }) => value.file.replace(/^layers\//, ''))
    .sort()

test('a disk whose conversion is killed at any point is the old file or the new one, whole, and there is no third (F07)', async () => {
  using deck = await Dashboard.start()
  const { id } = await deck.ask<Volume>('POST', '/volumes', { name: 'v', sizeGiB: 1 })
  const file = () => {
    const head = storedDocuments<{ head: string }>('volume').find(({ key }) => key === id)?.value.head
    const layer = storedDocuments<Layer>('layer').find(({ key }) => key === head)
    return join(dir, 'd', layer?.value.file ?? '')
  }
  const pattern = (what: 'read' | 'write', format: string) =>
    execFileSync('qemu-io', ['-f', format, '-c', `${what} -P 7 1M 4M`, file()], { encoding: 'utf8' })
  pattern('write', 'qcow2')
  let format = 'qcow2'
  for (const [at, isOver] of [
    ['^run qemu-img convert', false],
    ['^\\+ layer ready', false],
    ['^= volume', true],
    ['^= layer leaving', true],
  ] as const) {
    const to = format === 'qcow2' ? 'raw' : 'qcow2'
    await deck.dieAt({ at }, () => deck.ask('POST', `/volumes/${id}/convert`, { format: to }))
    if (isOver) format = to
    expect((await deck.ask<VolumeDetail>('GET', `/volumes/${id}`)).volume, at).toMatchObject({ format, problem: null })
    expect(pattern('read', format), at).not.toMatch(/failed/i)
    await expect.poll(() => list('layers'), { ...PATIENCE, message: at }).toEqual(layers())
    expect(layers(), at).toHaveLength(1)
  }
  await deck.done('POST', `/volumes/${id}/convert`, { format: format === 'qcow2' ? 'raw' : 'qcow2' })
}, 600_000)

test('what is deleted is fully there or fully gone, wherever the dashboard is killed (F11)', async () => {
  using deck = await Dashboard.start({ GUESTDECK_DOWNLOAD_ALLOW: allowed })
  const image = await deck.done('POST', '/images/download', { url: `http://${allowed}/x.img` })
  for (const [at, isGone] of [
    ['^- image', false],
    ['^rm .*/images/', true],
  ] as const) {
    await deck.dieAt({ at }, () => deck.ask('DELETE', `/images/${image}`))
    expect((await expectWholeImages(deck)).length, at).toBe(isGone ? 0 : 1)
    expect(list('uploads'), at).toEqual([])
  }

  const define = async (): Promise<string> => {
    const { id } = await deck.ask<Vm>('POST', '/vms', {
      ...{ name: 'goes', memoryMiB: 32, accelerator: 'tcg', firmware: 'bios', display: 'none', networks: [] },
      disks: [{ id: 'a', device: 'disk', sizeGiB: 1 }],
    })
    await deck.done('POST', `/vms/${id}/snapshots`, { name: 's', kind: 'disk' })
    return id
  }
  const vm = await define()
  const backup = await deck.done('POST', `/vms/${vm}/backups`, {})
  const folder = join(dir, 'd/backups', vm)
  for (const [at, isGone] of [
    ['^rename .*\\.gone', false],
    ['^renamed .*\\.gone', true],
  ] as const) {
    await deck.dieAt({ at }, () => deck.ask('DELETE', `/backups/${backup}`, {}))
    expect((await deck.items('/backups')).length, at).toBe(isGone ? 0 : 1)
    if (!isGone)
      expect((await deck.end(await deck.ask<Job>('POST', `/backups/${backup}/verify`, {}))).state).toBe('done')
    const left = () => (existsSync(folder) ? readdirSync(folder).filter((name) => name.includes(backup)) : [])
    await expect.poll(left, { ...PATIENCE, message: at }).toHaveLength(isGone ? 0 : 1)
  }

  for (const [at, isGone] of [
    ['^- vm', false],
    ['^- snapshot', true],
    ['^= layer leaving', true],
  ] as const) {
    const id = at === '^- vm' ? vm : ((await deck.items<Vm>('/vms'))[0]?.id ?? (await define()))
    await deck.dieAt({ at }, () => deck.ask('DELETE', `/vms/${id}?disks=delete`))
    expect(
      (await deck.items<Vm>('/vms')).map((one) => one.id),
      at,
    ).toEqual(isGone ? [] : [id])
    const snapshots = storedDocuments('snapshot').length
    const disks = (await deck.items<Volume>('/volumes')).map(({ problem }) => problem)
    expect([snapshots, disks, list('vms').length], at).toEqual(isGone ? [0, [], 0] : [1, [null], 1])
    if (isGone) expect([layers(), list('layers')], at).toEqual([[], []])
    else expect(await deck.done('POST', `/vms/${id}/snapshots`, { name: 'more', kind: 'disk' })).not.toBe('')
  }
}, 600_000)
