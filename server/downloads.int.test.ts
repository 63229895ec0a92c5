/**
 * Downloads from outside: the dashboard as a process, a mirror on loopback that breaks, lies and dawdles, and canaries
 * on other ports that nothing may ever connect to.
 */
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import { type Answer, send } from '#server/http/test-rig.ts'
import { dir, ready, server, token } from '#server/testing/process-rig.ts'

const MiB = 2 ** 20
const image = randomBytes(24 * MiB)
image.write('U\xaa', 510, 'latin1')
const hash = (algorithm: string, bytes: Buffer = image) => createHash(algorithm).update(bytes).digest('hex')

type Answerer = (request: IncomingMessage, response: ServerResponse, hit: number) => void
const servers: Server[] = []
let files: Map<string, Answerer>
let asked: { path: string; range: string | undefined; encoding: string | undefined }[]
let port: number

beforeEach(async () => {
  files = new Map()
  asked = []
  const hits = new Map<string, number>()
  const mirror = createServer((request, response) => {
    const path = request.url ?? ''
    const hit = hits.get(path) ?? 0
    hits.set(path, hit + 1)
    asked.push({ path, range: request.headers.range, encoding: String(request.headers['accept-encoding']) })
    const answer = files.get(path.split('?', 1)[0] ?? '')
    if (answer === undefined) response.writeHead(404).end()
    else answer(request, response, hit)
  })
  await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve))
  servers.push(mirror)
  port = (mirror.address() as AddressInfo).port
})
afterEach(async () => {
  for (const one of servers.splice(0)) {
    if ('closeAllConnections' in one && typeof one.closeAllConnections === 'function') one.closeAllConnections()
    await new Promise((resolve) => one.close(resolve))
  }
})

/** A file with a tag and ranges; `cutAt` ends the connection there, once for each hit below `cuts`. */
const serve =
  (bytes: Buffer, { etag = '"v1"', cutAt = 0, cuts = 0, slowly = false } = {}): Answerer =>
  (request, response, hit) => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
    const same = request.headers['if-range'] === undefined || request.headers['if-range'] === etag
    const from = range !== null && same ? Number(range[1]) : 0
    response.writeHead(from > 0 ? 206 : 200, {
      ...{ etag, 'accept-ranges': 'bytes', 'content-length': bytes.length - from },
      ...(from > 0 && { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    })
    if (request.method === 'HEAD') return void response.end()
    if (hit < cuts) return void response.write(bytes.subarray(from, cutAt), () => response.destroy())
    if (slowly) return void response.write(bytes.subarray(from, from + 4 * MiB))
    response.end(bytes.subarray(from))
  }
/** Nothing but a counter of connections. */
async function canary(): Promise<{ port: number; hits(): number }> {
  let hits = 0
  const listener = createTcpServer((socket) => {
    hits += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => listener.listen(0, resolve))
  servers.push(listener)
  return { port: (listener.address() as AddressInfo).port, hits: () => hits }
}

function client(deckPort: number, secret: string) {
  const headers = { authorization: `Bearer ${secret}` }
  const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
    send(deckPort, method, `/api/v1${path}`, {
      headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
  const ended = async (id: string): Promise<Job> => {
    const job: Job = (await ask('GET', `/jobs/${id}?wait=60`)).json
    if (job.endedAt === null) throw new Error('the job does not end')
    return job
  }
  return {
    ask,
    ended,
    fetch: (body: object) => ask('POST', '/images/download', body),
    async done(body: object): Promise<Job> {
      const { status, json, text } = await ask('POST', '/images/download', body)
      expect(status, text).toBe(202)
      return ended(json.id)
    },
  }
}
const url = (path: string) => `http://127.0.0.1:${port}${path}`
const allow = () => ({ GUESTDECK_DOWNLOAD_ALLOW: `127.0.0.1:${port}` })
const noLeftovers = () => expect.poll(() => readdirSync(join(dir, 'd/uploads')), { timeout: 10_000 }).toEqual([])

it('a broken connection is taken up where it ended; lists, mirrors and checksums decide what is kept (U08, U13)', async () => {
  const secret = await token()
  const running = server([], allow())
  const ann = client(await ready(running), secret)
  files.set('/broken.img', serve(image, { cutAt: 9 * MiB, cuts: 1 }))
  files.set(
    '/SHA256SUMS',
    (_q, response) => void response.end(`${'0'.repeat(64)}  other.img\n${hash('sha256')} *broken.img\n`),
  )

  const preview = await ann.ask('POST', '/images/download/preview', {
    url: url('/broken.img'),
    checksum: { listUrl: url('/SHA256SUMS') },
  })
  expect(preview.json).toMatchObject({
    ...{ name: 'broken.img', sizeBytes: image.length, canResume: true, existing: null },
    checksum: { algorithm: 'sha256', value: hash('sha256') },
  })
  asked = []
  const job = await ann.done({ url: url('/broken.img?signature=secret'), checksum: { listUrl: url('/SHA256SUMS') } })
  expect(job.state, JSON.stringify(job.error)).toBe('done')
  const made = (await ann.ask('GET', `/images/${job.result}`)).json
  expect(made).toMatchObject({
    name: 'broken.img',
    source: 'download',
    sha256: hash('sha256'),
    downloadedFrom: url('/broken.img'),
  })
  const wanted = asked.filter(({ path }) => path.startsWith('/broken'))
  expect(wanted.map(({ range }) => range)).toEqual([undefined, expect.stringMatching(/^bytes=\d{7}-$/)])
  expect(new Set(wanted.map(({ encoding }) => encoding))).toEqual(new Set(['identity']))
  expect((await ann.ask('GET', '/activity?limit=5')).text).not.toContain('signature')

  // Another file by the time of the second try: it begins anew and is whole, never a mix.
  const newer = Buffer.from(image)
  newer.fill(1, MiB, 2 * MiB)
  files.set('/changed.img', (request, response, hit) =>
    serve(hit === 0 ? image : newer, { etag: `"v${Math.min(hit, 1)}"`, cutAt: 9 * MiB, cuts: 1 })(
      request,
      response,
      hit,
    ),
  )
  const changed = await ann.done({ url: url('/changed.img'), checksum: { value: hash('sha512', newer) } })
  expect(changed.state, JSON.stringify(changed.error)).toBe('done')
  expect((await ann.ask('GET', `/images/${changed.result}`)).json.sha256).toBe(hash('sha256', newer))

  // The first mirror has nothing, the second is right.
  files.set('/good.img', serve(image))
  const other = await ann.done({
    url: url('/missing.img'),
    mirrors: [url('/good.img')],
    checksum: { value: hash('sha256') },
  })
  expect(other.state, JSON.stringify(other.error)).toBe('done')

  for (const [body, code] of [
    [{ url: url('/good.img'), checksum: { value: '0'.repeat(64) } }, 'checksum_mismatch'],
    [{ url: url('/good.img'), checksum: { listUrl: url('/SHA256SUMS') } }, 'bad_input'],
    [{ url: url('/missing.img') }, 'source_failed'],
    [{ url: url('/zip.img') }, 'source_failed'],
    [{ url: url('/text.img') }, 'image_refused'],
  ] as const) {
    files.set('/zip.img', (_q, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      response.end(gzipSync(image.subarray(0, MiB)))
    })
    files.set('/text.img', (_q, response) => void response.end('<html>not an image</html>'))
    const failed = await ann.done(body)
    expect(failed.error?.code, body.url).toBe(code)
  }
  await noLeftovers()

  // The server's own idea of a name is ignored.
  files.set('/named.img', (request, response, hit) => {
    response.setHeader('content-disposition', 'attachment; filename="../../../etc/cron.d/x"')
    serve(image)(request, response, hit)
  })
  const named = await ann.done({ url: `${url('/x/..%2f..%2fetc%2fpasswd')}`, mirrors: [url('/named.img')] })
  expect((await ann.ask('GET', `/images/${named.result}`)).json.name).toBe('passwd')
  expect(running.child.exitCode).toBeNull()
})

it('a download outlives kill -9 of the dashboard and can be cancelled; nothing half done is left (F08)', async () => {
  const secret = await token()
  const first = server([], allow())
  const before = client(await ready(first), secret)
  const big = Buffer.concat([image, image, image, image])
  // The first answer stalls beyond the first safe point, later ones are whole.
  files.set('/big.img', (request, response, hit) => {
    if (hit > 0) return serve(big)(request, response, hit)
    response.writeHead(200, { etag: '"v1"', 'accept-ranges': 'bytes', 'content-length': big.length })
    response.write(big.subarray(0, 90 * MiB))
  })
  const { json: job } = await before.fetch({ url: url('/big.img'), checksum: { value: hash('sha256', big) } })
  await expect
    .poll(async () => (await before.ask('GET', `/jobs/${job.id}`)).json.doneBytes, { timeout: 30_000 })
    .toBeGreaterThan(88 * MiB)
  first.child.kill('SIGKILL')
  await first.ended

  const again = client(await ready(server([], allow())), secret)
  const jobs: Job[] = (await again.ask('GET', '/jobs')).json.items
  expect(jobs.find(({ id }) => id === job.id)?.error?.code).toBe('interrupted')
  const next = jobs.find(({ id }) => id !== job.id)
  if (next === undefined) throw new Error('the download was not taken up')
  const ended = await again.ended(next.id)
  expect(ended.state, JSON.stringify(ended.error)).toBe('done')
  expect((await again.ask('GET', `/images/${ended.result}`)).json.sha256).toBe(hash('sha256', big))
  const from = Number(/^bytes=(\d+)-$/.exec(asked.findLast(({ path }) => path === '/big.img')?.range ?? '')?.[1])
  expect(from).toBeGreaterThanOrEqual(64 * MiB)
  await noLeftovers()

  files.set('/slow.img', serve(big, { slowly: true }))
  const { json: slow } = await again.fetch({ url: url('/slow.img') })
  await expect.poll(async () => (await again.ask('GET', `/jobs/${slow.id}`)).json.doneBytes).toBeGreaterThan(0)
  // Whoever waits for the end is answered at the end, or with what is after the time asked for.
  expect((await again.ask('GET', `/jobs/${slow.id}?wait=1`)).json.endedAt).toBeNull()
  expect((await again.ask('GET', `/jobs/${slow.id}?wait=61`)).status).toBe(400)
  const end = again.ended(slow.id)
  await again.ask('POST', `/jobs/${slow.id}/cancel`)
  expect((await end).state).toBe('cancelled')
  await noLeftovers()
})

it('nothing is fetched from where only this host could reach, whatever the address is called or redirects to (U09, U10)', async () => {
  const trap = await canary()
  const secret = await token()
  const running = server([], allow())
  const ann = client(await ready(running), secret)
  const ask = async (address: string): Promise<[number, string]> => {
    const { status, json } = await ann.fetch({ url: address })
    return [status, json.error?.code]
  }
  for (const scheme of [
    'file:///etc/passwd',
    `ftp://127.0.0.1:${trap.port}/x`,
    `gopher://127.0.0.1:${trap.port}/`,
    'data:,xxxxxxxx',
  ])
    expect(await ask(scheme), scheme).toEqual([400, 'bad_input'])
  const withPassword = await ann.fetch({ url: `http://user:hunter2@127.0.0.1:${port}/x` })
  expect([withPassword.status, withPassword.text.includes('hunter2')]).toEqual([400, false])
  expect(running.err()).not.toContain('hunter2')
  const odd = [
    ...['127.0.0.1', '127.1', '0x7f.1', '2130706433', '①②⑦.⓪.⓪.①', '[::ffff:7f00:1]', '[::ffff:127.0.0.1]', '[::1]'],
    ...[
      '[::]',
      '[64:ff9b::7f00:1]',
      '169.254.169.254',
      'localhost',
      'localhost.',
      '0.0.0.0',
      '10.255.255.1',
      '[fe80::1]',
    ],
  ]
  for (const host of odd) expect(await ask(`http://${host}:${trap.port}/x.iso`), host).toEqual([403, 'blocked_address'])
  // Beside the address: its mirrors, its list, and the preview.
  const bad = `http://127.0.0.1:${trap.port}/x`
  files.set('/ok.img', serve(image))
  for (const body of [
    { url: url('/ok.img'), mirrors: [bad] },
    { url: url('/ok.img'), checksum: { listUrl: bad } },
  ])
    expect((await ann.fetch(body)).status).toBe(403)
  expect((await ann.ask('POST', '/images/download/preview', { url: bad })).status).toBe(403)

  // Redirects: each is judged, also the last of a chain; more than five are too many.
  files.set('/jump.img', (_q, response) => void response.writeHead(302, { location: bad }).end())
  files.set('/chain.img', (_q, response) => void response.writeHead(307, { location: url('/jump.img') }).end())
  files.set('/file.img', (_q, response) => void response.writeHead(301, { location: 'file:///etc/passwd' }).end())
  files.set(
    '/login.img',
    (_q, response) => void response.writeHead(301, { location: `http://a:hunter2@127.0.0.1:${port}/ok.img` }).end(),
  )
  files.set('/loop.img', (_q, response) => void response.writeHead(302, { location: '/loop.img' }).end())
  for (const [path, code] of [
    ['/jump.img', 'blocked_address'],
    ['/chain.img', 'blocked_address'],
    ['/file.img', 'bad_input'],
    ['/login.img', 'bad_input'],
    ['/loop.img', 'source_failed'],
  ] as const) {
    const preview = await ann.ask('POST', '/images/download/preview', { url: url(path) })
    expect([preview.json.error?.code, preview.text.includes('hunter2')], path).toEqual([code, false])
    if (path !== '/loop.img') expect((await ann.done({ url: url(path) })).error?.code, path).toBe(code)
  }
  expect(asked.filter(({ path }) => path === '/loop.img')).toHaveLength(6)
  await noLeftovers()
  expect(trap.hits()).toBe(0)
})

it('the catalogue is fetched from a mirror, newest first, and knows what is in the library', async () => {
  const secret = await token()
  const base = '/cdimage.debian.org/debian-cd/current/amd64/iso-cd'
  files.set(
    `${base}/SHA256SUMS`,
    (_q, response) =>
      void response.end(
        `${'1'.repeat(64)}  debian-13.9.0-amd64-netinst.iso\n${hash('sha256')}  debian-13.10.0-amd64-netinst.iso\n${'2'.repeat(64)}  debian-edu-13.10.0-amd64-netinst.iso\n`,
      ),
  )
  files.set(`${base}/debian-13.10.0-amd64-netinst.iso`, serve(image))
  writeFileSync(join(dir, 'own.yaml'), JSON.stringify([{ id: 'broken' }]))
  const ann = client(
    await ready(
      server([], {
        GUESTDECK_CATALOGUE_MIRROR: `http://127.0.0.1:${port}`,
        GUESTDECK_CATALOGUE: join(dir, 'own.yaml'),
      }),
    ),
    secret,
  )
  const list = (await ann.ask('GET', '/images/catalogue')).json
  expect(list.problems).toEqual([expect.stringMatching(/^Entry 1 is left out/)])
  const { status, json: job } = await ann.ask('POST', '/images/catalogue/debian-netinst')
  expect(status).toBe(202)
  expect((await ann.ended(job.id)).state).toBe('done')
  const entry = (await ann.ask('GET', '/images/catalogue')).json.items.find(
    ({ id }: { id: string }) => id === 'debian-netinst',
  )
  expect(entry.images).toHaveLength(1)
  expect((await ann.ask('GET', `/images/${entry.images[0]}`)).json).toMatchObject({
    catalogue: 'debian-netinst',
    sha256: hash('sha256'),
  })
  expect((await ann.ask('POST', '/images/catalogue/no-such-thing')).status).toBe(404)
})
