/** The log sent on: real sockets on loopback, a real store. */
import { createHmac } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { dataPaths } from '#server/paths.ts'
import { openStore } from '#server/store/sqlite.ts'
import { startShipper, syslogMessage, syslogSink, webhookSink } from './shipper.ts'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const clean of cleanups.splice(0).reverse()) clean()
})
const line = (text: string) => ({
  ...{ at: '2026-01-01T00:00:00.000Z', what: 'vmStart', text, result: 'denied' as const, who: 'ann"]', from: '::1' },
  ...{ topic: 'vm' as const, objectId: 'v1', objectName: 'web', userId: 'u1' },
})
function open() {
  const dir = mkdtempSync(join(tmpdir(), 'gd-ship-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  const store = openStore(dataPaths(dir))
  cleanups.push(() => store.close())
  return store
}

it('a webhook gets every line once it answers, signed, and after a restart only what is new', async () => {
  const store = open()
  store.log(line('before it was set'), { durable: true })
  let isUp = false
  const got: { id: number; text: string; hash: string }[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      const expected = `sha256=${createHmac('sha256', 's3cret').update(body).digest('hex')}`
      const signed = request.headers['x-guestdeck-signature'] === expected
      if (isUp && signed) got.push(...JSON.parse(body.toString()).lines)
      response.writeHead(isUp && signed ? 204 : 503).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => server.close())
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`)
  const warnings: string[] = []
  const first = startShipper(store, [webhookSink(url, 's3cret')], (message) => warnings.push(message))
  store.log(line('one'), { durable: true })
  await expect.poll(() => warnings.length).toBe(1)
  store.log(line('two'), { durable: true })
  isUp = true
  await expect.poll(() => got.map(({ text }) => text), { timeout: 20_000 }).toEqual(['one', 'two'])
  expect(got.at(-1)?.hash).toBe(store.verifyLog().head)
  // What was taken is noted a moment after the answer.
  const noted = () => store.list<number>('meta').find(({ key }) => key.startsWith('audit-sent:'))?.value
  await expect.poll(noted).toBe(3)
  first.close()
  store.log(line('three'), { durable: true })
  const second = startShipper(store, [webhookSink(url, 's3cret')], () => {})
  cleanups.push(() => second.close())
  await expect.poll(() => got.map(({ text }) => text), { timeout: 20_000 }).toEqual(['one', 'two', 'three'])
})

it('syslog gets one message a line, over UDP and TCP, whatever the text holds', async () => {
  const store = open()
  const udp: string[] = []
  const socket = createSocket('udp4').on('message', (message) => udp.push(message.toString()))
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  cleanups.push(() => socket.close())
  let tcp = ''
  const server = createTcp((peer) =>
    peer.on('data', (chunk) => {
      tcp += chunk.toString()
    }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => server.close())
  const sinks = [
    syslogSink(new URL(`udp://127.0.0.1:${socket.address().port}`)),
    syslogSink(new URL(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)),
  ]
  const shipper = startShipper(store, sinks, () => {})
  cleanups.push(() => shipper.close())
  store.log(line('a\nb ü'), { durable: true })
  store.log(line('c'), { durable: true })
  await expect.poll(() => udp.length).toBe(2)
  await expect.poll(() => tcp).toContain('] c')
  expect(udp[0]).toMatch(/^<84>1 2026-01-01T00:00:00.000Z \S+ guestdeck - vmStart \[guestdeck@32473 id="1" /)
  expect(udp[0]).toContain('who="ann\\"\\]"')
  expect(udp[0]).not.toContain('\n')
  const [entry] = store.logAfter(0, 1)
  const message = entry === undefined ? '' : syslogMessage(entry)
  expect(tcp.startsWith(`${Buffer.byteLength(message)} ${message}`)).toBe(true)
})
