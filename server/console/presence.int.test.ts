/** Several people at one console: who is there, who has control, and that input follows it. Real sockets. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { CLOSE } from '#lib/console/close-codes.ts'
import type { ConsoleNews, ConsoleViewer } from '#lib/schema/console.ts'
import { createSerialHub } from './serial-hub.ts'
import {
  CLIENT_HANDSHAKE,
  closed,
  collect,
  keyMessage,
  opened,
  type Rig,
  startRig,
  unixPeer,
  until,
  VM,
} from './test-rig.ts'
import type { TicketGrant } from './types.ts'

async function room(limits = {}) {
  const rig = await startRig(limits)
  const [vnc, serial] = [await unixPeer(`${rig.dir}/vnc`), await unixPeer(`${rig.dir}/ser`)]
  rig.vnc = vnc.path
  const hub = createSerialHub(serial.path)
  rig.hub = hub
  await hub.ready
  return {
    rig,
    vnc,
    serial: await serial.next(),
    async [Symbol.asyncDispose]() {
      hub.close()
      await vnc[Symbol.asyncDispose]()
      await serial[Symbol.asyncDispose]()
      await rig[Symbol.asyncDispose]()
    },
  }
}

/** A person at a console, as their page sees it. */
function person(
  rig: Rig,
  name: string,
  mode: 'control' | 'view' = 'control',
  grant: Partial<TicketGrant> = {},
  kind: 'vnc' | 'serial' = 'vnc',
) {
  const ws = rig.open(kind, mode, { grant: { userName: name, userId: name, presence: true, ...grant } })
  let latest: Extract<ConsoleNews, { type: 'presence' }> | null = null
  const refusals: string[] = []
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) return
    const news = JSON.parse(data.toString()) as ConsoleNews
    if (news.type === 'presence') latest = news
    else refusals.push(news.message)
  })
  const me = () => latest?.viewers.find(({ id }) => id === latest?.you)
  return {
    ws,
    refusals,
    me,
    get viewers(): readonly ConsoleViewer[] {
      return latest?.viewers ?? []
    },
    get names() {
      return (latest?.viewers ?? []).map((viewer) => viewer.name)
    },
    get holder() {
      return latest?.viewers.find(({ holds }) => holds)?.name ?? null
    },
    wish: (wish: object) => ws.send(JSON.stringify(wish)),
    sees: (what: string, test: () => boolean) => until(test, `${name} sees that ${what}`),
    idOf: (other: string) => latest?.viewers.find((viewer) => viewer.name === other)?.id,
  }
}

describe('people at one console', () => {
  test('each sees who comes, who goes, and what they may', async () => {
    await using setup = await room()
    const ada = person(setup.rig, 'ada')
    await ada.sees('she is there', () => ada.names.join() === 'ada')
    const guest = { linkId: 'l1', maxViewers: 2, byUserId: 'ada' }
    const eve = person(setup.rig, 'class', 'view', { guest }, 'serial')
    await ada.sees('a guest came', () => ada.names.join() === 'ada,class')
    await eve.sees('ada was there before', () => eve.names.join() === 'ada,class')
    expect(ada.viewers).toMatchObject([
      { name: 'ada', kind: 'vnc', mode: 'control', guest: false, holds: false, asksSince: null },
      { name: 'class', kind: 'serial', mode: 'view', guest: true },
    ])
    eve.ws.close()
    await ada.sees('the guest left', () => ada.names.join() === 'ada')
  })

  test('who did not ask for it gets no text between the bytes, and may send none', async () => {
    await using setup = await room()
    const plain = setup.rig.open('vnc', 'control')
    await opened(plain)
    const texts: unknown[] = []
    plain.on('message', (data, isBinary) => isBinary || texts.push(data))
    const ada = person(setup.rig, 'ada')
    await ada.sees('both are there', () => ada.names.length === 2)
    ada.wish({ do: 'hold' })
    await ada.sees('she holds', () => ada.holder === 'ada')
    await sleep(50)
    expect(texts).toEqual([])
    plain.send('{"do":"hold"}')
    expect(await closed(plain)).toBe(CLOSE.unsupported)
  })

  test('with sole control only one types on the screen; keys still down are let go when it passes on', async () => {
    await using setup = await room()
    const [ada, bob] = [person(setup.rig, 'ada'), person(setup.rig, 'bob')]
    await Promise.all([opened(ada.ws), opened(bob.ws)])
    const [first, second] = [collect(await setup.vnc.next()), collect(await setup.vnc.next())]
    ada.ws.send(CLIENT_HANDSHAKE)
    await until(() => first.bytes.length + second.bytes.length === CLIENT_HANDSHAKE.length, 'one has shaken hands')
    const [atAda, atBob] = first.bytes.length > 0 ? [first, second] : [second, first]
    bob.ws.send(CLIENT_HANDSHAKE)
    await atBob.take(CLIENT_HANDSHAKE.length)
    await atAda.take(CLIENT_HANDSHAKE.length)
    // Shared: both type.
    ada.ws.send(keyMessage(0x61, true))
    expect(await atAda.take(8)).toEqual(keyMessage(0x61, true))
    const pointer = Buffer.of(5, 1, 0, 9, 0, 9)
    ada.ws.send(pointer)
    expect(await atAda.take(6)).toEqual(pointer)

    bob.wish({ do: 'hold' })
    await ada.sees('bob has control', () => ada.holder === 'bob')
    expect(await atAda.take(14)).toEqual(Buffer.concat([keyMessage(0x61, false), Buffer.of(5, 0, 0, 9, 0, 9)]))
    ada.ws.send(keyMessage(0x62, true))
    const request = Buffer.of(3, 0, 0, 0, 0, 0, 1, 0, 1, 0)
    ada.ws.send(request)
    expect(await atAda.take(10)).toEqual(request)
    bob.ws.send(keyMessage(0x63, true))
    expect(await atBob.take(8)).toEqual(keyMessage(0x63, true))

    ada.wish({ do: 'hold' })
    await until(() => ada.refusals.length === 1, 'ada is refused')
    expect(ada.refusals[0]).toMatch(/^bob has control/)
    ada.wish({ do: 'ask' })
    await bob.sees('ada asks', () => bob.viewers.some(({ name, asksSince }) => name === 'ada' && asksSince !== null))
    bob.wish({ do: 'give', to: bob.idOf('ada') })
    await bob.sees('ada has it', () => bob.holder === 'ada')
    expect(await atBob.take(8)).toEqual(keyMessage(0x63, false))
    ada.ws.send(keyMessage(0x64, true))
    expect(await atAda.take(8)).toEqual(keyMessage(0x64, true))
    // It is shared again once she has left.
    ada.ws.close()
    await bob.sees('control is shared', () => bob.holder === null && bob.names.join() === 'bob')
    expect(setup.rig.changes.map(({ what, by, to }) => [what, by.name, to])).toEqual([
      ['hold', 'bob', null],
      ['ask', 'ada', null],
      ['give', 'bob', 'ada'],
    ])
  })

  test('on the serial console as well, and sole control of the one says nothing about the other', async () => {
    await using setup = await room()
    const [ada, bob] = [
      person(setup.rig, 'ada', 'control', {}, 'serial'),
      person(setup.rig, 'bob', 'control', {}, 'serial'),
    ]
    await Promise.all([opened(ada.ws), opened(bob.ws)])
    const got = collect(setup.serial)
    ada.wish({ do: 'hold' })
    await bob.sees('ada has control', () => bob.holder === 'ada')
    bob.ws.send(Buffer.from('no'))
    ada.ws.send(Buffer.from('yes'))
    await got.atLeast(3)
    await sleep(30)
    expect(got.bytes.toString()).toBe('yes')
    const screen = person(setup.rig, 'bob')
    await screen.sees('he is there', () => screen.me() !== undefined)
    screen.wish({ do: 'hold' })
    await screen.sees('he has the screen', () => screen.me()?.holds === true)
    expect(ada.me()?.holds).toBe(true)
  })

  test('who manages the console takes control back, hands it out from beside it, and ends viewers', async () => {
    await using setup = await room()
    const [ada, bob] = [person(setup.rig, 'ada', 'control', { manages: true }), person(setup.rig, 'bob')]
    const eve = person(setup.rig, 'eve', 'view')
    await eve.sees('three are there', () => eve.names.length === 3)
    bob.wish({ do: 'hold' })
    await eve.sees('bob has control', () => eve.holder === 'bob')
    ada.wish({ do: 'take' })
    await bob.sees('ada took it', () => bob.holder === 'ada')
    const { router } = setup.rig
    const by = { id: 'u9', name: 'root' }
    expect(router.give(VM, 'vnc', bob.me()?.id ?? '', by)).toBeNull()
    await ada.sees('bob has it', () => ada.holder === 'bob')
    expect(router.give(VM, 'vnc', eve.me()?.id ?? '', by)).toMatch(/eve may watch/)
    expect(router.give(VM, 'vnc', null, by)).toBeNull()
    await ada.sees('all have it', () => ada.holder === null)
    expect(router.end(VM, bob.me()?.id ?? '', 'root ended this connection: late')).toBe(true)
    const reason = new Promise<string>((resolve) => bob.ws.on('close', (_, text) => resolve(text.toString())))
    expect(await closed(bob.ws)).toBe(CLOSE.disconnected)
    expect(await reason).toBe('root ended this connection: late')
    await eve.sees('bob is gone', () => eve.names.join() === 'ada,eve')
    expect(router.end(VM, bob.me()?.id ?? '', 'again')).toBe(false)
  })

  test.each([
    ['no JSON', 'hello', CLOSE.unsupported],
    ['an unknown wish', '{"do":"reboot"}', CLOSE.unsupported],
    ['more than a wish', '{"do":"hold","__proto__":{"manages":true},"x":1}', CLOSE.unsupported],
    ['deeply nested JSON', `${'['.repeat(400)}${']'.repeat(400)}`, CLOSE.unsupported],
    ['a long text', JSON.stringify({ do: 'give', to: 'x'.repeat(30_000) }), CLOSE.unsupported],
  ])('%s as a wish ends that viewer and no other (W10)', async (_, text, code) => {
    await using setup = await room()
    const [ada, mal] = [person(setup.rig, 'ada'), person(setup.rig, 'mal')]
    await ada.sees('both are there', () => ada.names.length === 2)
    mal.ws.send(text)
    expect(await closed(mal.ws)).toBe(code)
    await ada.sees('she is alone', () => ada.names.join() === 'ada')
    ada.wish({ do: 'hold' })
    await ada.sees('she holds', () => ada.holder === 'ada')
  })

  test('a flood of wishes ends that viewer, and the others hear no more of it than of a few (W10)', async () => {
    await using setup = await room()
    const [ada, mal] = [person(setup.rig, 'ada'), person(setup.rig, 'mal')]
    await ada.sees('both are there', () => ada.names.length === 2)
    let heard = 0
    ada.ws.on('message', () => heard++)
    for (let i = 0; i < 10_000; i++) mal.wish({ do: i % 2 === 0 ? 'hold' : 'release' })
    expect(await closed(mal.ws)).toBe(CLOSE.policy)
    await ada.sees('she is alone', () => ada.names.join() === 'ada')
    expect(heard).toBeLessThan(60)
    expect(setup.rig.changes.length).toBeLessThan(60)
  })

  test('a guest link has no more viewers than it is for', async () => {
    await using setup = await room()
    const grant = { guest: { linkId: 'l1', maxViewers: 1, byUserId: 'ada' } }
    const first = person(setup.rig, 'class', 'view', grant)
    await opened(first.ws)
    const second = person(setup.rig, 'class', 'view', grant)
    expect(await closed(second.ws)).toBe(CLOSE.tooMany)
    const other = person(setup.rig, 'class', 'view', { guest: { ...grant.guest, linkId: 'l2' } })
    await other.sees('both are there', () => other.names.length === 2)
    expect(setup.rig.router.guests('l1')).toBe(1)
  })

  test('news for a viewer that does not read are one message, the latest, once it reads again', async () => {
    await using setup = await room({ stallMs: 60_000 })
    const slow = person(setup.rig, 'slow', 'view')
    await opened(slow.ws)
    const guest = await setup.vnc.next()
    slow.ws.pause()
    const noise = Buffer.alloc(1 << 20, 7)
    let stuck = false
    while (!stuck) {
      stuck = !guest.write(noise)
      if (stuck)
        await Promise.race([new Promise((r) => guest.once('drain', r)).then(() => (stuck = false)), sleep(300)])
    }
    const ada = person(setup.rig, 'ada')
    await ada.sees('both are there', () => ada.names.length === 2)
    for (let i = 0; i < 8; i++) {
      ada.wish({ do: i % 2 === 0 ? 'hold' : 'release' })
      await ada.sees('it is done', () => (ada.holder === 'ada') === (i % 2 === 0))
    }
    ada.wish({ do: 'hold' })
    let texts = 0
    slow.ws.on('message', (_, isBinary) => isBinary || texts++)
    slow.ws.resume()
    await slow.sees('ada has control', () => slow.holder === 'ada')
    expect(texts).toBeLessThan(6)
  })
})
