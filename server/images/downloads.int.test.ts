/**
 * Servers that mean no good, over real sockets: what they send without end, a drop at a time, packed, or other than
 * announced ends at our limits and leaves nothing. Limits are the product's own, made small enough to wait for.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import { parseAllowList } from '#server/fetch/url-guard.ts'
import { createJobRegistry } from '#server/jobs/registry.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDirs } from '#server/storage/dirs.ts'
import { createSpaceLedger } from '#server/storage/space.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createDownloads } from './downloads.ts'
import { createIntake } from './intake.ts'

const isRoot = process.getuid?.() === 0
const MiB = 2 ** 20
const OWNER = { id: '01890000-0000-7000-8000-000000000001', name: 'ann' }

let answer: (response: ServerResponse, hit: number) => void
let hits: number
let sent: number
let server: Server
const cleanups: (() => void)[] = []

beforeEach(async () => {
  hits = 0
  sent = 0
  server = createServer((_request, response) => {
    response.on('error', () => {})
    answer(response, hits++)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

async function rig(root = mkdtempSync(join(tmpdir(), 'gd-down-'))) {
  cleanups.push(() => rmSync(root, { recursive: true, force: true }))
  const { port } = server.address() as AddressInfo
  const data = dataPaths(join(root, 'data'))
  await prepareDataDirs(data, null)
  const store = openStore(data)
  cleanups.push(() => store.close())
  const jobs = createJobRegistry({ onChange() {} })
  const space = createSpaceLedger(data.root, 0)
  const admitted: string[] = []
  const downloads = createDownloads({
    ...{ data, store, space, jobs },
    guard: { allow: parseAllowList([`127.0.0.1:${port}`]) },
    intake: createIntake({ assertFits() {}, roomFor: () => null, isAdmitted: () => false }),
    isAdmitted: () => false,
    // What comes after the last byte is in the tests of the door.
    async admit(path) {
      admitted.push(path)
      return 'admitted'
    },
    onEnd() {},
    warn() {},
    limits: { maxBytes: 8 * MiB, slowWindowMs: 300, patienceMs: [10, 10] },
  })
  const fetch = async (): Promise<Job> => {
    const plan = {
      ...{ urls: [`http://127.0.0.1:${port}/x.img`], checksum: null, lists: [], file: null },
      ...{ pattern: null, directories: [], mirror: null, format: 'sums' as const },
    }
    const { id } = await downloads.start(OWNER, { name: 'x.img', plan, catalogue: null })
    await jobs.whenOver(id, AbortSignal.timeout(30_000))
    const job = jobs.view(id, null)
    if (job === null) throw new Error('the job has gone')
    return job
  }
  const left = () => [...readdirSync(data.uploadsDir), ...store.list('download').map(({ key }) => key)]
  return { fetch, left, admitted, space }
}

/** Sends as long as somebody takes it. */
function endless(response: ServerResponse): void {
  const block = Buffer.alloc(65_536, 1)
  const go = () => {
    while (!response.destroyed) {
      sent += block.length
      if (!response.write(block)) return void response.once('drain', go)
    }
  }
  go()
}
function drop(response: ServerResponse): void {
  const timer = setInterval(() => (response.destroyed ? clearInterval(timer) : response.write('x')), 20)
}

const LIES: readonly [string, typeof answer, { code: string; message: RegExp; tries: number }][] = [
  [
    'sends without end',
    (response) => {
      response.writeHead(200)
      endless(response)
    },
    { code: 'too_large', message: /8 MiB|larger/, tries: 1 },
  ],
  [
    'announces more than may come',
    (response) => response.writeHead(200, { 'content-length': 9 * MiB }).flushHeaders(),
    { code: 'too_large', message: /8 MiB|larger/, tries: 1 },
  ],
  [
    'sends a drop at a time',
    (response) => {
      response.writeHead(200, { 'content-length': MiB })
      drop(response)
    },
    { code: 'source_failed', message: /less than 1 KiB a second/, tries: 3 },
  ],
  [
    'packs what it sends',
    (response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(64 * MiB))),
    { code: 'source_failed', message: /compressed although that was not asked for/, tries: 1 },
  ],
  [
    'sends less than it announced',
    (response) => {
      response.writeHead(200, { 'content-length': 4096 })
      response.write(Buffer.alloc(1024, 1), () => response.destroy())
    },
    { code: 'source_failed', message: /broke off after \d+ bytes/, tries: 3 },
  ],
  [
    'breaks off after every kibibyte and lets each be taken up',
    (response, hit) => {
      const from = Number(/^bytes=(\d+)-$/.exec(response.req.headers.range ?? '')?.[1] ?? 0)
      response.writeHead(from === 0 ? 200 : 206, {
        ...{ etag: '"v1"', 'accept-ranges': 'bytes', 'content-length': MiB - from },
        ...(from > 0 && { 'content-range': `bytes ${from}-${MiB - 1}/${MiB}` }),
      })
      response.write(Buffer.alloc(1024, hit))
      // After they were read: what is still in a buffer when a connection breaks is lost.
      setTimeout(() => response.destroy(), 100)
    },
    { code: 'source_failed', message: /broke off after 3072 bytes/, tries: 3 },
  ],
  [
    'sends nothing at all',
    (response) => void response.writeHead(200, { 'content-length': 0 }).end(),
    { code: 'image_refused', message: /is empty/, tries: 1 },
  ],
]

it.each(LIES)('a server that %s is given up, in words, and nothing is left (U12)', async (_name, how, expected) => {
  answer = how
  const { fetch, left, admitted, space } = await rig()
  const job = await fetch()
  expect(job).toMatchObject({ state: 'failed', error: { code: expected.code } })
  expect(job.error?.message).toMatch(expected.message)
  expect(hits).toBe(expected.tries)
  // What was under way in buffers on both sides.
  expect(sent).toBeLessThan(24 * MiB)
  expect(left()).toEqual([])
  expect(admitted).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})

it('what is sent beyond the announced length is not taken (U12)', async () => {
  answer = (response) => {
    // Written to the socket itself: Node would refuse to lie.
    response.socket?.end(`HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n${'x'.repeat(65_536)}`)
  }
  const { fetch, admitted } = await rig()
  expect(await fetch()).toMatchObject({ state: 'done', doneBytes: 1024 })
  expect(admitted).toHaveLength(1)
})

it.runIf(isRoot)('a disk that runs full in the middle of a download: no space, nothing left of it (F27)', async () => {
  const root = mkdtempSync(join(tmpdir(), 'gd-down-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=0711', 'tmpfs', root])
  // Its length is known to nobody beforehand, so no room can be promised.
  answer = (response) => {
    response.writeHead(200)
    endless(response)
  }
  const { fetch, left, space } = await rig(root)
  cleanups.push(() => execFileSync('umount', ['-l', root]))
  expect(await fetch()).toMatchObject({ state: 'failed', error: { code: 'no_space' } })
  expect(left()).toEqual([])
  expect(space.outstandingBytes).toBe(0)
})
