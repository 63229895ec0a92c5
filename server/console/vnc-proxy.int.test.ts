import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { CLOSE } from '#lib/console/close-codes.ts'
import {
  CLIENT_HANDSHAKE,
  closed,
  collect,
  gone,
  keyMessage,
  opened,
  type Rig,
  startRig,
  unixPeer,
  until,
  VM,
} from './test-rig.ts'

const MiB = 1 << 20

/** Writes seeded noise until `total` bytes are out, heeding backpressure; returns their SHA-256. */
async function pour(socket: Socket, total: number, chunkBytes: () => number): Promise<string> {
  const hash = createHash('sha256')
  const noise = randomBytes(MiB)
  for (let sent = 0; sent < total; ) {
    const size = Math.min(chunkBytes(), total - sent)
    const at = (sent * 7919) % (MiB - size)
    const chunk = noise.subarray(at, at + size)
    hash.update(chunk)
    sent += size
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  return hash.digest('hex')
}

async function vncRig(
  limits = {},
): Promise<{ rig: Rig; peer: Awaited<ReturnType<typeof unixPeer>> } & AsyncDisposable> {
  const rig = await startRig(limits)
  const peer = await unixPeer(`${rig.dir}/vnc`)
  rig.vnc = peer.path
  return {
    rig,
    peer,
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]()
      await rig[Symbol.asyncDispose]()
    },
  }
}

describe('VNC proxy, guest to viewer', () => {
  test.each([
    ['small pieces', () => 1 + Math.floor(Math.random() * 5000), 8 * MiB],
    ['large pieces', () => 1 + Math.floor(Math.random() * 900_000), 96 * MiB],
  ])('every byte arrives in order through a viewer that keeps pausing (%s)', async (_, chunkBytes, total) => {
    await using setup = await vncRig()
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    const hash = createHash('sha256')
    let received = 0
    let pauses = 0
    const done = Promise.withResolvers<void>()
    ws.on('message', (chunk: Buffer) => {
      hash.update(chunk)
      received += chunk.length
      if (received === total) done.resolve()
      if (received > (pauses + 1) * (total / 12)) {
        pauses++
        ws.pause()
        setTimeout(() => ws.resume(), 60)
      }
    })
    const sent = await pour(guest, total, chunkBytes)
    await done.promise
    expect(hash.digest('hex')).toBe(sent)
    expect(pauses).toBeGreaterThan(8)
  })

  test('a viewer that does not read stops the reading from the guest, with little buffered, and nothing is lost (W03)', async () => {
    await using setup = await vncRig({ stallMs: 60_000 })
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    await opened(ws)
    ws.pause()
    const total = 64 * MiB
    const before = process.memoryUsage().rss
    let poured = false
    const sent = pour(guest, total, () => 200_000).then((sum) => {
      poured = true
      return sum
    })
    await sleep(700)
    const inFlight = guest.bytesWritten - guest.writableLength
    await sleep(300)
    expect(poured).toBe(false)
    expect(guest.bytesWritten - guest.writableLength).toBe(inFlight)
    // Ours is 2 MiB; the rest is the kernel's socket buffers on both ways.
    expect(inFlight).toBeLessThan(16 * MiB)
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * MiB)
    const hash = createHash('sha256')
    let received = 0
    const done = Promise.withResolvers<void>()
    ws.on('message', (chunk: Buffer) => {
      hash.update(chunk)
      received += chunk.length
      if (received === total) done.resolve()
    })
    ws.resume()
    await done.promise
    expect(hash.digest('hex')).toBe(await sent)
  })

  test('a viewer that takes nothing for the allowed time is dropped and the guest’s socket freed (W03)', async () => {
    await using setup = await vncRig({ stallMs: 400 })
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    await opened(ws)
    ws.pause()
    pour(guest, 64 * MiB, () => 100_000).catch(() => {})
    await gone(guest)
    await until(() => setup.rig.ended.length === 1, 'the end is reported')
    expect(setup.rig.ended[0]?.code).toBe(CLOSE.stalled)
  })

  test('a slow viewer that keeps taking is not dropped', async () => {
    await using setup = await vncRig({ stallMs: 1500 })
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    await opened(ws)
    let received = 0
    const timer = setInterval(() => ws.resume(), 80)
    ws.on('message', (chunk: Buffer) => {
      received += chunk.length
      ws.pause()
    })
    pour(guest, 64 * MiB, () => 100_000).catch(() => {})
    await sleep(4000)
    clearInterval(timer)
    expect(setup.rig.ended).toEqual([])
    expect(received).toBeGreaterThan(0)
    expect(guest.closed).toBe(false)
  })

  test('one viewer that does not read leaves the others alone', async () => {
    await using setup = await vncRig()
    const stuck = setup.rig.open('vnc', 'view')
    const stuckGuest = await setup.peer.next()
    await opened(stuck)
    stuck.pause()
    pour(stuckGuest, 64 * MiB, () => 100_000).catch(() => {})
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    const hash = createHash('sha256')
    let received = 0
    ws.on('message', (chunk: Buffer) => {
      hash.update(chunk)
      received += chunk.length
    })
    const sent = await pour(guest, 32 * MiB, () => 100_000)
    await until(() => received === 32 * MiB, 'the other got everything')
    expect(hash.digest('hex')).toBe(sent)
  })
})

describe('VNC proxy, viewer to guest', () => {
  test('input goes through for a controlling viewer and not for a view-only one, and both share (R02, R04)', async () => {
    await using setup = await vncRig()
    for (const mode of ['control', 'view'] as const) {
      const ws = setup.rig.open('vnc', mode)
      const guest = await setup.peer.next()
      const got = collect(guest)
      await opened(ws)
      const exclusive = Buffer.from(CLIENT_HANDSHAKE)
      exclusive[13] = 0
      const request = Buffer.of(3, 0, 0, 0, 0, 0, 1, 0, 1, 0)
      ws.send(exclusive)
      ws.send(Buffer.concat([keyMessage(0x61, true), request]))
      const expected = Buffer.concat(
        mode === 'control' ? [CLIENT_HANDSHAKE, keyMessage(0x61, true), request] : [CLIENT_HANDSHAKE, request],
      )
      await got.atLeast(expected.length)
      await sleep(30)
      expect(got.bytes).toEqual(expected)
    }
  })

  test('when the guest takes no input the viewer is held back, and everything arrives later in order', async () => {
    await using setup = await vncRig()
    const ws = setup.rig.open('vnc', 'control')
    const guest = await setup.peer.next()
    guest.pause()
    await opened(ws)
    ws.send(CLIENT_HANDSHAKE)
    const hash = createHash('sha256').update(CLIENT_HANDSHAKE)
    const text = randomBytes(200_000)
    const cutText = Buffer.concat([Buffer.of(6, 0, 0, 0, 0, 0, 0, 0), text])
    cutText.writeUInt32BE(text.length, 4)
    const count = 150
    for (let i = 0; i < count; i++) {
      hash.update(cutText)
      ws.send(cutText)
    }
    await sleep(500)
    expect(ws.bufferedAmount).toBeGreaterThan(4 * MiB)
    const total = CLIENT_HANDSHAKE.length + count * cutText.length
    const arrived = createHash('sha256')
    let received = 0
    guest.on('data', (chunk) => {
      arrived.update(chunk)
      received += chunk.length
    })
    guest.resume()
    await until(() => received === total, 'all input arrived')
    expect(arrived.digest('hex')).toBe(hash.digest('hex'))
  })

  test('a guest that takes no input for too long ends the console instead of keeping it in limbo', async () => {
    await using setup = await vncRig({ inputStallMs: 300 })
    const ws = setup.rig.open('vnc', 'control')
    const guest = await setup.peer.next()
    guest.pause()
    await opened(ws)
    ws.send(CLIENT_HANDSHAKE)
    const cutText = Buffer.concat([Buffer.of(6, 0, 0, 0, 0, 3, 0xd, 0x40), randomBytes(200_000)])
    for (let i = 0; i < 20; i++) ws.send(cutText)
    expect(await closed(ws)).toBe(CLOSE.stalled)
  })

  test.each([
    ['an unknown message', (ws: WebSocket) => ws.send(Buffer.concat([CLIENT_HANDSHAKE, Buffer.of(77)])), CLOSE.policy],
    ['text', (ws: WebSocket) => ws.send('{"hello":1}'), CLOSE.unsupported],
    ['a frame above 512 KiB', (ws: WebSocket) => ws.send(Buffer.alloc(600 << 10)), CLOSE.tooBig],
    [
      'a message in thousands of fragments',
      (ws: WebSocket) => {
        for (let i = 0; i < 3000; i++) ws.send(Buffer.of(1), { fin: false })
      },
      CLOSE.policy,
    ],
  ])('%s ends the viewer and not the others (W04, W10)', async (_, misbehave, code) => {
    await using setup = await vncRig()
    const good = setup.rig.open('vnc', 'control')
    const goodGuest = await setup.peer.next()
    const bad = setup.rig.open('vnc', 'control')
    const badGuest = await setup.peer.next()
    await opened(bad)
    misbehave(bad)
    const [ended] = await Promise.all([closed(bad), gone(badGuest)])
    expect(ended).toBe(code)
    const got = collect(goodGuest)
    good.send(CLIENT_HANDSHAKE)
    await got.atLeast(CLIENT_HANDSHAKE.length)
  })

  test('a flood of pings by a viewer that reads no answers ends that viewer (W04)', async () => {
    await using setup = await vncRig({ stallMs: 1000 })
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    await opened(ws)
    ws.pause()
    const payload = Buffer.alloc(125)
    const timer = setInterval(() => {
      for (let i = 0; i < 5000 && ws.readyState === ws.OPEN; i++) ws.ping(payload)
    }, 5)
    await gone(guest)
    clearInterval(timer)
    expect(setup.rig.router.viewers(VM).vnc).toBe(0)
  })
})

describe('VNC proxy, ends', () => {
  test('when the viewer leaves, the guest’s socket is closed, and the other way round', async () => {
    await using setup = await vncRig()
    const leaving = setup.rig.open('vnc', 'control')
    const first = await setup.peer.next()
    await opened(leaving)
    leaving.close()
    await gone(first)
    const staying = setup.rig.open('vnc', 'control')
    const second = await setup.peer.next()
    await opened(staying)
    second.end(Buffer.from('last words'))
    const got = collect(staying)
    expect(await closed(staying)).toBe(CLOSE.ended)
    expect(got.bytes.toString()).toBe('last words')
    expect(setup.rig.router.viewers(VM)).toEqual({ vnc: 0, serial: 0 })
  })

  test('a viewer whose connection is gone without a word is found by ping and its QEMU slot freed (W05)', async () => {
    await using setup = await vncRig({ pingEveryMs: 100, pongWithinMs: 250 })
    setup.rig.open('vnc', 'view', { autoPong: false })
    const guest = await setup.peer.next()
    const lively = setup.rig.open('vnc', 'view')
    await setup.peer.next()
    await gone(guest)
    await sleep(600)
    expect(lively.readyState).toBe(lively.OPEN)
    expect(setup.rig.router.viewers(VM).vnc).toBe(1)
  })

  test('a viewer that never finishes the handshake does not keep a slot (W06)', async () => {
    await using setup = await vncRig({ handshakeMs: 200 })
    const ws = setup.rig.open('vnc', 'view')
    const guest = await setup.peer.next()
    guest.write('RFB 003.008\n')
    expect(await closed(ws)).toBe(CLOSE.policy)
  })

  test('the socket being absent closes with "off"', async () => {
    await using setup = await vncRig()
    setup.rig.vnc = `${setup.rig.dir}/nobody`
    expect(await closed(setup.rig.open('vnc', 'view'))).toBe(CLOSE.off)
  })
})
