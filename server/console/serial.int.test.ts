import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { CLOSE } from '#lib/console/close-codes.ts'
import { createSerialHub, INPUT_MAX_BYTES } from './serial-hub.ts'
import { droppedNotice, SERIAL_PENDING_MAX_BYTES } from './serial-proxy.ts'
import { closed, collect, gone, opened, startRig, unixPeer, until, VM } from './test-rig.ts'

async function serialRig(limits = {}) {
  const rig = await startRig(limits)
  const peer = await unixPeer(`${rig.dir}/ser`)
  const hub = createSerialHub(peer.path)
  rig.hub = hub
  const guest = await peer.next()
  await hub.ready
  return {
    rig,
    hub,
    guest,
    async [Symbol.asyncDispose]() {
      await peer[Symbol.asyncDispose]()
      await rig[Symbol.asyncDispose]()
    },
  }
}

describe('serial hub', () => {
  test('can be made before the socket is there, and misses nothing said after it connected', async () => {
    await using rig = await startRig()
    const path = `${rig.dir}/late`
    const hub = createSerialHub(path)
    await sleep(60)
    await using peer = await unixPeer(path)
    const guest = await peer.next()
    guest.write('first words')
    expect(await hub.ready).toBe(true)
    await until(() => hub.history().head.length === 11, 'it was read')
    expect(Buffer.from(hub.history().head).toString()).toBe('first words')
    hub.close()
    await gone(guest)
  })

  test('gives up when nobody listens in time and says so once', async () => {
    await using rig = await startRig()
    const ends: (Error | null)[] = []
    const hub = createSerialHub(`${rig.dir}/never`, { connectDeadlineMs: 80, onClose: (error) => ends.push(error) })
    expect(await hub.ready).toBe(false)
    await sleep(120)
    expect(ends.map((error) => (error as NodeJS.ErrnoException | null)?.code)).toEqual(['ENOENT'])
    expect(hub.write(Buffer.from('x'))).toBe(false)
  })

  test('the end of the guest is told to owner and listeners, also to one who asks late', async () => {
    await using setup = await serialRig()
    let told = 0
    setup.hub.onClose(() => told++)
    setup.guest.destroy()
    await until(() => told === 1, 'the listener was told')
    setup.hub.onClose(() => told++)
    expect(told).toBe(2)
  })

  test('a flood is read at full speed with nobody watching, in bounded memory (G07)', async () => {
    await using setup = await serialRig()
    const chunk = Buffer.alloc(MiB, 'flood ')
    for (let i = 0; i < 32; i++) if (!setup.guest.write(chunk)) await once(setup.guest, 'drain')
    await until(() => setup.guest.writableLength === 0, 'all was taken')
    await until(() => {
      const { head, tail, droppedBytes } = setup.hub.history()
      return head.length + tail.length + droppedBytes === 32 * MiB
    }, 'all was counted')
    const { head, tail } = setup.hub.history()
    expect([head.length, tail.length]).toEqual([64 << 10, MiB])
  })

  test('input the guest does not take is bounded and refused, not dropped half way', async () => {
    await using setup = await serialRig()
    setup.guest.pause()
    const chunk = randomBytes(8 << 10)
    let taken = 0
    while (setup.hub.write(chunk)) taken += chunk.length
    expect(taken).toBeLessThan(4 * MiB)
    const got = collect(setup.guest)
    setup.guest.resume()
    await got.atLeast(taken)
    expect(got.bytes.length).toBe(taken)
    expect(setup.hub.write(chunk)).toBe(true)
    expect(INPUT_MAX_BYTES).toBeGreaterThanOrEqual(chunk.length)
  })
})

const MiB = 1 << 20

describe('serial viewers', () => {
  test('a viewer gets what was said before and then what is said', async () => {
    await using setup = await serialRig()
    setup.guest.write('boot log\r\n')
    await until(() => setup.hub.history().head.length === 10, 'it was read')
    const ws = setup.rig.open('serial', 'view')
    const got = collect(ws)
    expect((await got.atLeast(10)).toString()).toBe('boot log\r\n')
    setup.guest.write('login: ')
    expect((await got.atLeast(17)).toString()).toBe('boot log\r\nlogin: ')
  })

  test('a gap in the history is marked', async () => {
    await using setup = await serialRig()
    setup.guest.write(Buffer.alloc(3 * MiB, '.'))
    await until(() => setup.hub.history().droppedBytes > 0 && setup.guest.writableLength === 0, 'it was read')
    const total = () => {
      const { head, tail, droppedBytes } = setup.hub.history()
      return head.length + tail.length + droppedBytes
    }
    await until(() => total() === 3 * MiB, 'all was read')
    const dropped = 2 * MiB - (64 << 10)
    const got = collect(setup.rig.open('serial', 'view'))
    const text = (await got.atLeast((64 << 10) + MiB + droppedNotice(dropped).length)).toString()
    expect(text.slice(64 << 10, -MiB)).toBe(droppedNotice(dropped))
  })

  test('two viewers see the same bytes; only the controlling one can type (R02, W08)', async () => {
    await using setup = await serialRig()
    const control = setup.rig.open('serial', 'control')
    const view = setup.rig.open('serial', 'view')
    await Promise.all([opened(control), opened(view)])
    await until(() => setup.hub.viewers === 2, 'both are there')
    const typed = collect(setup.guest)
    view.send(Buffer.from('rm -rf /\r'))
    control.send(Buffer.from('ls\r'))
    await typed.atLeast(3)
    await sleep(50)
    expect(typed.bytes.toString()).toBe('ls\r')
    const seen = [collect(control), collect(view)]
    const noise = randomBytes(300_000)
    setup.guest.write(noise)
    for (const each of seen) expect((await each.atLeast(noise.length)).equals(noise)).toBe(true)
  })

  test('a long paste reaches a slow guest whole and in order', async () => {
    await using setup = await serialRig()
    const ws = setup.rig.open('serial', 'control')
    await opened(ws)
    const paste = randomBytes(900_000)
    for (let at = 0; at < paste.length; at += 50_000) ws.send(paste.subarray(at, at + 50_000))
    setup.guest.pause()
    await sleep(200)
    const got = collect(setup.guest)
    setup.guest.resume()
    await got.atLeast(paste.length)
    expect(got.bytes.equals(paste)).toBe(true)
  })

  test('a viewer that does not read slows neither the guest nor the others, and is skipped ahead later (W08)', async () => {
    await using setup = await serialRig()
    const stuck = setup.rig.open('serial', 'view')
    const other = setup.rig.open('serial', 'view')
    await Promise.all([opened(stuck), opened(other)])
    await until(() => setup.hub.viewers === 2, 'both are there')
    stuck.pause()
    let others = 0
    other.on('message', (chunk: Buffer) => {
      others += chunk.length
    })
    const total = 40 * MiB
    const piece = Buffer.alloc(MiB / 4, 'x')
    for (let sent = piece.length; sent <= total; sent += piece.length) {
      if (!setup.guest.write(piece)) await once(setup.guest, 'drain')
      await until(() => others >= sent - piece.length, 'the other keeps up')
    }
    setup.guest.write('the end')
    await until(() => others === total + 7, 'the other got everything')
    const got = collect(stuck)
    stuck.resume()
    await until(() => got.bytes.includes('the end'), 'the stuck one is at the end too')
    const text = got.bytes.toString()
    expect(text).toMatch(/\x1bc\r\n\x1b\[0m\x1b\[7m \d+ bytes of output are not kept/)
    expect(got.bytes.length).toBeLessThan(total)
    expect(SERIAL_PENDING_MAX_BYTES).toBe(MiB)
  })

  test('a viewer that stays stuck is dropped (W08)', async () => {
    await using setup = await serialRig({ stallMs: 300 })
    const ws = setup.rig.open('serial', 'view')
    await opened(ws)
    ws.pause()
    const flood = setInterval(() => setup.guest.write(Buffer.alloc(MiB, 'x')), 10)
    await until(() => setup.rig.ended.length === 1, 'it is dropped')
    clearInterval(flood)
    expect(setup.rig.ended[0]?.code).toBe(CLOSE.stalled)
    expect(setup.rig.router.viewers(VM).serial).toBe(0)
    expect(setup.hub.viewers).toBe(0)
  })

  test('frames above 64 KiB and text are refused', async () => {
    await using setup = await serialRig()
    const big = setup.rig.open('serial', 'control')
    await opened(big)
    big.send(Buffer.alloc(65_537))
    expect(await closed(big)).toBe(CLOSE.tooBig)
    const text = setup.rig.open('serial', 'control')
    await opened(text)
    text.send('ls')
    expect(await closed(text)).toBe(CLOSE.unsupported)
  })

  test('the end of the guest closes its viewers after the last words', async () => {
    await using setup = await serialRig()
    const ws = setup.rig.open('serial', 'view')
    const got = collect(ws)
    await opened(ws)
    await until(() => setup.hub.viewers === 1, 'it is there')
    setup.guest.end('reboot: Power down')
    expect(await closed(ws)).toBe(CLOSE.ended)
    expect(got.bytes.toString()).toBe('reboot: Power down')
  })
})
