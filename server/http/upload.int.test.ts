/** The upload route: the body goes to the engine as it comes, and is refused before it comes where possible. */
import { connect } from 'node:net'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { drain, type Rig, sendRaw, startRig } from '#server/http/test-rig.ts'

let rig: Rig
let olga: Awaited<ReturnType<Rig['person']>>
let vera: Awaited<ReturnType<Rig['person']>>
beforeAll(async () => {
  rig = await startRig({ validateAnswers: false })
  olga = await rig.person('olga', 'operator')
  vera = await rig.person('vera', 'viewer')
})
afterAll(() => rig.stop())

const PATH = '/api/v1/images/upload?name=x.iso'
const head = (token: string, more: string) =>
  `POST ${PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/octet-stream\r\n${more}\r\n`

test('8 MiB arrive whole, with the length declared beforehand', async () => {
  let seen: { bytes: number; declared: unknown } | null = null
  rig.on('images.upload', async (_caller: never, _query: never, body: Readable, declared: number) => {
    seen = { bytes: await drain(body), declared }
    return { id: 'x' }
  })
  const body = Buffer.alloc(8 * 2 ** 20, 7)
  const answer = await rig.send('POST', PATH, {
    headers: { ...olga.bearer, 'content-type': 'application/octet-stream' },
    body,
  })
  expect(answer.status).toBe(201)
  expect(seen).toEqual({ bytes: body.length, declared: body.length })
})

test('a file put by a tool that names no type arrives like one that was posted', async () => {
  let seen = 0
  rig.on('images.upload', async (_caller: never, query: { name: string }, body: Readable) => {
    seen = await drain(body)
    return { id: query.name }
  })
  const answer = await rig.send('PUT', PATH, { headers: olga.bearer, body: Buffer.alloc(2 ** 20, 7) })
  expect(answer.status).toBe(201)
  expect(answer.json.id).toBe('x.iso')
  expect(seen).toBe(2 ** 20)
  expect(
    (await rig.send('PUT', PATH, { headers: { ...olga.bearer, 'content-type': 'text/plain' }, body: 'x' })).status,
  ).toBe(415)
  expect((await rig.send('PUT', PATH, { headers: vera.bearer, body: 'x' })).status).toBe(403)
})

test('JSON, an unknown query or no name are refused', async () => {
  const headers = { ...olga.bearer, 'content-type': 'application/octet-stream' }
  expect((await rig.json('POST', PATH, {}, olga.bearer)).status).toBe(415)
  expect((await rig.send('POST', '/api/v1/images/upload', { headers, body: 'x' })).json.error.field).toBe('name')
  expect((await rig.send('POST', `${PATH}&x=1`, { headers, body: 'x' })).json.error.code).toBe('unknown_field')
})

test('who may not upload is told before "100 Continue", who may gets it', async () => {
  const more = 'Content-Length: 10\r\nExpect: 100-continue\r\nConnection: close\r\n'
  const refused = await sendRaw(rig.port, head(vera.token, more), 2000)
  expect(refused).toMatch(/^HTTP\/1\.1 403 /)
  expect(refused).not.toContain('100 Continue')
  expect(await sendRaw(rig.port, head(olga.token, more), 500)).toMatch(/^HTTP\/1\.1 100 Continue/)
})

test('want of space is answered before the body is there', async () => {
  rig.on('images.upload', () => {
    throw new EngineError('no_space', 'There is no room for 10 GB.')
  })
  const answer = await sendRaw(rig.port, head(olga.token, 'Content-Length: 10000000000\r\n'), 1500)
  expect(answer).toMatch(/^HTTP\/1\.1 507 /)
})

test('an upload that breaks off ends the stream with an error', async () => {
  const ended = new Promise<string>((resolve) => {
    rig.on('images.upload', async (_caller: never, _query: never, body: Readable) => {
      try {
        await drain(body)
        resolve('complete')
      } catch {
        resolve('broken')
      }
      return { id: 'x' }
    })
  })
  const socket = connect(rig.port, '127.0.0.1')
  socket.write(head(olga.token, 'Content-Length: 1000\r\n'))
  socket.write('half of it')
  await new Promise((resolve) => setTimeout(resolve, 200))
  socket.destroy()
  expect(await ended).toBe('broken')
})
