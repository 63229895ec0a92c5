/** Resumable uploads from outside: over HTTP, against the dashboard as a process, which is killed in the middle. */
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statfsSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import { type Answer, send, sendRaw } from '#server/http/test-rig.ts'
import { deck, dir, PASSWORD, ready, run, server, token } from '#server/testing/process-rig.ts'

const MiB = 2 ** 20
const PATH = '/api/v1/images/uploads'

/** A raw disk with a boot signature and bytes that tell every place from every other. */
function disk(sizeBytes: number): Buffer {
  const image = randomBytes(sizeBytes)
  image.write('U\xaa', 510, 'latin1')
  return image
}
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const base64 = (text: string) => Buffer.from(text).toString('base64')

function client(port: number, secret: string) {
  const headers = { authorization: `Bearer ${secret}`, 'tus-resumable': '1.0.0' }
  const ask = (method: string, path: string, more: Record<string, string> = {}, body?: Buffer): Promise<Answer> =>
    send(port, method, path, { headers: { ...headers, ...more }, body })
  return {
    ask,
    create: (sizeBytes: number, name = 'disk.img', metadata = '') =>
      ask('POST', PATH, {
        'upload-length': String(sizeBytes),
        'upload-metadata': `filename ${base64(name)}${metadata}`,
      }),
    append: (path: string, offset: number, bytes: Buffer, more: Record<string, string> = {}) =>
      ask(
        'PATCH',
        path,
        { 'content-type': 'application/offset+octet-stream', 'upload-offset': String(offset), ...more },
        bytes,
      ),
    offset: async (path: string) => Number((await ask('HEAD', path)).headers['upload-offset']),
    /** Sends a part of a longer piece and leaves the connection open. */
    begin(path: string, offset: number, bytes: Buffer, declared: number) {
      const outgoing = request({
        ...{ host: '127.0.0.1', port, path, method: 'PATCH', agent: false },
        headers: {
          ...headers,
          'content-type': 'application/offset+octet-stream',
          'upload-offset': String(offset),
          'content-length': String(declared),
        },
      })
      outgoing.on('error', () => {})
      outgoing.write(bytes)
      return outgoing
    },
    async ended(jobId: string): Promise<Job> {
      for (const until = performance.now() + 60_000; performance.now() < until; await sleep(50)) {
        const job: Job = (await ask('GET', `/api/v1/jobs/${jobId}`)).json
        if (job.endedAt !== null) return job
      }
      throw new Error('the job does not end')
    },
  }
}

it('an upload outlives kill -9 of the dashboard: it goes on at the last safe byte, and every byte is right (F08)', async () => {
  const secret = await token()
  const first = server()
  const before = client(await ready(first), secret)
  const image = disk(160 * MiB)
  const created = await before.create(image.length, 'big.img', `,lastmodified ${base64('1700000000000')}`)
  expect(created.status, created.text).toBe(201)
  const path = String(created.headers.location)
  expect(path).toBe(`${PATH}/${created.json.id}`)
  // One whole piece, then a longer one that never ends.
  expect((await before.append(path, 0, image.subarray(0, 10 * MiB))).headers['upload-offset']).toBe(String(10 * MiB))
  const hanging = before.begin(path, 10 * MiB, image.subarray(10 * MiB, 120 * MiB), 150 * MiB)
  await expect
    .poll(async () => (await before.ask('GET', path)).json.offsetBytes, { timeout: 30_000 })
    .toBeGreaterThanOrEqual(74 * MiB)
  first.child.kill('SIGKILL')
  await first.ended
  hanging.destroy()

  const again = client(await ready(server()), secret)
  const { json: list } = await again.ask('GET', PATH)
  expect(list.items).toMatchObject([
    { name: 'big.img', state: 'waiting', sizeBytes: image.length, lastModifiedMs: 1_700_000_000_000 },
  ])
  const offset = await again.offset(path)
  expect(offset).toBeGreaterThanOrEqual(74 * MiB)
  expect(offset).toBeLessThanOrEqual(120 * MiB)
  const rest = await again.append(path, offset, image.subarray(offset))
  expect(rest.status, rest.text).toBe(204)
  const { items } = (await again.ask('GET', '/api/v1/jobs')).json
  const job = await again.ended(items.find((one: Job) => one.state === 'running' || one.result !== null).id)
  expect(job).toMatchObject({ kind: 'image-upload', state: 'done', result: created.json.id })
  const { json: made } = await again.ask('GET', `/api/v1/images/${job.result}`)
  expect(made).toMatchObject({ name: 'big.img', sha256: sha256(image), sizeBytes: image.length })
  expect(readdirSync(join(dir, 'd/uploads'))).toEqual([])
  // The bytes come back the same, whole and in part.
  const part = await again.ask('GET', `/api/v1/images/${job.result}/content`, { range: 'bytes=1048570-1048579' })
  expect(part.status).toBe(206)
  expect(part.headers['content-range']).toBe(`bytes 1048570-1048579/${image.length}`)
  const many = Array.from({ length: 1000 }, (_, n) => `${n * 2}-${n * 2}`).join(',')
  expect((await again.ask('GET', `/api/v1/images/${job.result}/content`, { range: `bytes=${many}` })).status).toBe(416)
})

it('breaks, wrong offsets, damaged pieces, bad names, other people and want of room lose nothing and leave nothing, and a planted link is not followed (U01, U02, U05, U06, U08)', async () => {
  const secret = await token()
  const added = deck(['user', 'add', 'olga', '--role', 'operator', '--password-stdin'], `${PASSWORD}\n`)
  expect(await added.ended).toBe(0)
  const issued = deck(['token', 'create', '--user', 'olga', '--label', 'test'])
  expect(await issued.ended).toBe(0)
  const running = server()
  const port = await ready(running)
  const ann = client(port, secret)
  const olga = client(port, issued.out().trim())
  const image = disk(3 * MiB)
  const uploads = join(dir, 'd/uploads')

  // Names never reach the disk.
  for (const [name, shown] of [
    ['../../etc/passwd', 'passwd'],
    ['/abs/x.img', 'x.img'],
    ['..\\..\\x.img', 'x.img'],
    ['-rf', '-rf'],
    ['%2e%2e%2fx', '%2e%2e%2fx'],
  ] as const) {
    const { status, json, headers } = await ann.create(1024, name)
    expect([status, json.name]).toEqual([201, shown])
    expect(readdirSync(uploads)).toEqual([`${json.id}.partial`])
    expect(statSync(join(uploads, `${json.id}.partial`)).mode & 0o777).toBe(0o600)
    expect((await ann.ask('DELETE', String(headers.location))).status).toBe(204)
  }
  for (const name of ['', '.', '..', 'a\0b', 'x'.repeat(256), '\u202egnp.img', 'a\r\nb'])
    expect((await ann.create(1024, name)).status, JSON.stringify(name)).toBe(400)
  expect(readdirSync(uploads)).toEqual([])

  // Somebody puts a link in the place of what is being written.
  const victim = join(dir, 'victim')
  writeFileSync(victim, 'as it was')
  const planted = String((await ann.create(1024, 'planted.img')).headers.location)
  const partial = join(uploads, readdirSync(uploads)[0] ?? '')
  rmSync(partial)
  symlinkSync(victim, partial)
  expect((await ann.append(planted, 0, image.subarray(0, 1024))).status).toBeGreaterThanOrEqual(400)
  expect((await ann.ask('DELETE', planted)).status).toBe(204)
  expect(readFileSync(victim, 'utf8')).toBe('as it was')
  expect(readdirSync(uploads)).toEqual([])

  // What is not tus, or not of ours.
  expect((await ann.ask('POST', PATH, { 'upload-length': '5' })).json.error.field).toBe('name')
  expect((await ann.create(-1)).status).toBe(400)
  expect((await ann.create(2 ** 53)).status).toBe(413)
  expect((await ann.create(0)).status).toBe(422)
  const old = await ann.ask('POST', PATH, { 'tus-resumable': '0.2.2', 'upload-length': '5' })
  expect([old.status, old.headers['tus-version']]).toEqual([412, '1.0.0'])

  const created = await olga.create(image.length)
  const path = String(created.headers.location)
  expect(created.headers['upload-expires']).toMatch(/GMT$/)
  // Another person's does not exist, not even for the administrator to write to; but she may see and remove it.
  expect((await ann.append(path, 0, image.subarray(0, 512))).status).toBe(404)
  expect((await ann.ask('HEAD', path)).status).toBe(404)
  expect((await ann.ask('GET', PATH)).json.items).toHaveLength(1)

  const wrong = await olga.append(path, 512, image.subarray(512, 1024))
  expect([wrong.status, wrong.json.error.details]).toEqual([409, { offsetBytes: 0 }])
  // Refused by its headers alone, before any byte of the body.
  const head = (type: string, length: number) =>
    `PATCH ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${issued.out().trim()}\r\nContent-Type: ${type}\r\nUpload-Offset: 0\r\nContent-Length: ${length}\r\n\r\n`
  expect(await sendRaw(port, head('application/offset+octet-stream', 2 * image.length), 1000)).toMatch(
    /^HTTP\/1\.1 413 /,
  )
  expect(await sendRaw(port, head('application/octet-stream', image.length), 1000)).toMatch(/^HTTP\/1\.1 415 /)

  // A damaged piece is refused and not kept; the right one is.
  const piece = image.subarray(0, MiB)
  const sum = (bytes: Buffer) => `sha1 ${createHash('sha1').update(bytes).digest('base64')}`
  const damaged = await olga.append(path, 0, piece, { 'upload-checksum': sum(image) })
  expect([damaged.status, await olga.offset(path)]).toEqual([460, 0])
  expect((await olga.append(path, 0, piece, { 'upload-checksum': sum(piece) })).status).toBe(204)
  expect((await olga.append(path, MiB, image.subarray(MiB, MiB + 9), { 'upload-checksum': 'crc32 xx' })).status).toBe(
    400,
  )

  // A connection that breaks keeps what it brought; one that hangs is taken over.
  const broken = olga.begin(path, MiB, image.subarray(MiB, MiB + 4096), 2 * MiB)
  await sleep(200)
  broken.destroy()
  const hanging = olga.begin(path, await olga.offset(path), image.subarray(MiB, 2 * MiB), 2 * MiB)
  await sleep(300)
  const offset = await olga.offset(path)
  expect(offset).toBeGreaterThanOrEqual(MiB)
  hanging.destroy()
  const last = await olga.append(path, offset, image.subarray(offset))
  expect(last.status, last.text).toBe(204)
  const job = await olga.ended(created.json.jobId)
  expect(job.state, JSON.stringify(job.error)).toBe('done')
  expect((await olga.ask('GET', `/api/v1/images/${job.result}`)).json.sha256).toBe(sha256(image))
  expect((await olga.ask('HEAD', path)).status).toBe(404)

  // What is no image, or not the one expected, is refused by its job and removed.
  for (const [bytes, metadata, code] of [
    [Buffer.alloc(MiB, 7), '', 'image_refused'],
    [image, `,sha256 ${base64('0'.repeat(64))}`, 'checksum_mismatch'],
  ] as const) {
    const bad = await olga.create(bytes.length, 'bad.img', metadata)
    expect((await olga.append(String(bad.headers.location), 0, bytes)).status).toBe(204)
    expect((await olga.ended(bad.json.jobId)).error?.code).toBe(code)
  }
  await expect.poll(() => readdirSync(uploads), { timeout: 10_000 }).toEqual([])

  // Cancelled from the jobs menu.
  const cancelled = await olga.create(MiB)
  expect((await olga.ask('POST', `/api/v1/jobs/${cancelled.json.jobId}/cancel`)).json.id).toBe(cancelled.json.jobId)
  expect((await olga.ended(cancelled.json.jobId)).state).toBe('cancelled')
  expect((await olga.ask('HEAD', String(cancelled.headers.location))).status).toBe(404)

  // Room is promised once: to a resumable upload and to a streamed one alike, before any byte comes.
  const fs = statfsSync(dir)
  const usable = fs.bavail * fs.bsize - Math.max(fs.blocks * fs.bsize * 0.05, 5 * 2 ** 30)
  const most = Math.floor(usable * 0.6)
  expect(most).toBeGreaterThan(0)
  const big = await ann.create(most, 'big.img')
  expect(big.status, big.text).toBe(201)
  expect((await olga.create(most, 'second.img')).status).toBe(507)
  const headers = `Host: 127.0.0.1\r\nAuthorization: Bearer ${secret}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${most}\r\n\r\n`
  expect(await sendRaw(port, `POST /api/v1/images/upload?name=x.img HTTP/1.1\r\n${headers}`, 1500)).toMatch(
    /^HTTP\/1\.1 507 /,
  )
  expect((await ann.ask('DELETE', String(big.headers.location))).status).toBe(204)
  const now = await olga.create(most, 'second.img')
  expect(now.status, now.text).toBe(201)
  expect((await ann.ask('DELETE', String(now.headers.location))).status).toBe(204)

  // Nobody fills the list: sixteen unfinished uploads each.
  const made: string[] = []
  for (let n = 0; n < 16; n++) made.push(String((await olga.create(1024, `${n}.img`)).headers.location))
  expect((await olga.create(1024)).status).toBe(503)
  expect((await ann.create(1024, 'other.img')).status).toBe(201)
  for (const one of made) expect((await olga.ask('DELETE', one)).status).toBe(204)
  expect(running.child.exitCode).toBeNull()

  expect((await send(port, 'POST', PATH, { headers: { 'upload-length': '1' } })).status).toBe(401)
})

it('the command line uploads with a token, goes on where it was stopped, and passes on why a file is refused', async () => {
  const secret = await token()
  const port = await ready(server())
  const ann = client(port, secret)
  const image = disk(70 * MiB)
  const file = join(dir, 'cli.img')
  writeFileSync(file, image)
  const lastModified = Math.floor(statSync(file).mtimeMs)
  // As an earlier call left it.
  const left = await ann.create(image.length, 'cli.img', `,lastmodified ${base64(String(lastModified))}`)
  await ann.append(String(left.headers.location), 0, image.subarray(0, 5 * MiB))
  const env = { GUESTDECK_TOKEN: secret, GUESTDECK_URL: `http://127.0.0.1:${port}` }
  const sent = run('cli/guestdeck.mjs', ['image', 'upload', file], undefined, env)
  expect(await sent.ended, sent.err()).toBe(0)
  expect(sent.out()).toBe(`${left.json.id}\n`)
  expect(sent.err()).toContain(`Going on with cli.img at ${5 * MiB} bytes`)
  expect((await ann.ask('GET', `/api/v1/images/${left.json.id}`)).json.sha256).toBe(sha256(image))

  writeFileSync(join(dir, 'text.img'), 'no image at all'.repeat(100))
  const refused = run('cli/guestdeck.mjs', ['image', 'upload', join(dir, 'text.img'), '--quiet'], undefined, env)
  expect([await refused.ended, refused.out()]).toEqual([1, ''])
  expect(refused.err()).toMatch(/^guestdeck: This is neither an ISO image/)
  const wrong = run('cli/guestdeck.mjs', ['image', 'upload', file], undefined, { ...env, GUESTDECK_TOKEN: 'gd_wrong' })
  expect(await wrong.ended).toBe(1)
  expect(wrong.err()).not.toContain('gd_wrong')
})
