/** Recordings in a real dashboard with a real guest: who may, that all are told, and what `kill -9` leaves. */
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { parseCast } from '#lib/recording/asciicast.ts'
import { createScreenReader, FRAME } from '#lib/recording/screen-file.ts'
import type { ConsoleNews } from '#lib/schema/console.ts'
import type { Recording, RecordingList } from '#lib/schema/recording.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { deck, dir, PASSWORD, ready, server, token } from '#server/testing/process-rig.ts'

/** Says "tick" on COM1 and on the screen, with a pause, for ever. */
const TICK = [
  ...[...'tick\r\n'].flatMap((c) => {
    const code = c.charCodeAt(0)
    // mov dx, 0x3f8; mov al, c; out dx, al; mov ah, 0x0e; int 0x10
    return [0xba, 0xf8, 0x03, 0xb0, code, 0xee, 0xb4, 0x0e, 0xcd, 0x10]
  }),
  // mov ah, 0x86; mov cx, 1; mov dx, 0; int 0x15: 65 ms
  ...[0xb4, 0x86, 0xb9, 0x01, 0x00, 0xba, 0x00, 0x00, 0xcd, 0x15],
]

function bootDisk(): Buffer {
  const image = Buffer.alloc(1 << 20)
  image.set([...TICK, 0xeb, 256 - TICK.length - 2])
  image.set([0x55, 0xaa], 510)
  return image
}

async function until<T>(look: () => Promise<T>, good: (value: T) => boolean, ms = 60_000): Promise<T> {
  for (const deadline = performance.now() + ms; ; await sleep(50)) {
    const value = await look()
    if (good(value)) return value
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(value)}`)
  }
}

test('console recordings: rights, everybody told, replayable after kill -9, and gone with their VM', async () => {
  const admin = await token()
  const second = async (name: string, role: string) => {
    expect(await deck(['user', 'add', name, '--role', role, '--password-stdin'], `${PASSWORD}\n`).ended).toBe(0)
    const made = deck(['token', 'create', '--user', name, '--label', 'test'])
    expect(await made.ended).toBe(0)
    return made.out().trim()
  }
  const [viewer, stranger] = [await second('vera', 'viewer'), await second('olaf', 'operator')]
  let run = server()
  let port = await ready(run)
  const raw = (
    method: string,
    path: string,
    body?: object | Buffer,
    who = admin,
    headers: Record<string, string> = {},
  ) =>
    fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${who}`,
        ...(body !== undefined && {
          'content-type': Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json',
        }),
        ...headers,
      },
      ...(body !== undefined && { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    })
  const ask = async <T>(method: string, path: string, body?: object | Buffer, who = admin): Promise<T> => {
    const answer = await raw(method, path, body, who)
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return (text === '' ? null : JSON.parse(text)) as T
  }
  const status = async (...args: Parameters<typeof raw>) => (await raw(...args)).status

  const image = await ask<{ id: string }>('POST', '/images/upload?name=tick.img', bootDisk())
  const vm = await ask<Vm>('POST', '/vms', {
    name: 'ticker',
    memoryMiB: 32,
    disks: [{ device: 'disk', image: image.id, bus: 'sata' }],
    networks: [],
    firmware: 'bios',
  })
  const at = `/vms/${vm.id}/recordings`
  expect(await status('POST', at, { kind: 'vnc' })).toBe(409)
  await ask('POST', `/vms/${vm.id}/start`)

  // A viewer at the serial console, who is told.
  const { ticket, path } = await ask<{ ticket: string; path: string }>(
    'POST',
    `/vms/${vm.id}/console-tickets`,
    { kind: 'serial', mode: 'view', presence: true },
    viewer,
  )
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['binary', ticket])
  let marks: string[] = []
  let heard = ''
  ws.on('error', () => {})
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) {
      heard += data.toString('latin1')
      return
    }
    const news = JSON.parse(data.toString()) as ConsoleNews
    if (news.type === 'presence') marks = news.recordings.map(({ kind, by }) => `${kind} by ${by}`)
  })
  await once(ws, 'open')
  await until(
    async () => heard,
    (text) => text.includes('tick\r\ntick'),
  )

  // Who may only watch begins none; for who does not reach the VM there is none.
  expect(await status('POST', at, { kind: 'vnc' }, viewer)).toBe(403)
  expect(await status('GET', at, undefined, stranger)).toBe(404)
  expect(await status('POST', at, { kind: 'vnc' }, stranger)).toBe(404)
  expect(marks).toEqual([])

  const screen = await ask<Recording>('POST', at, { kind: 'vnc' })
  const serial = await ask<Recording>('POST', at, { kind: 'serial' })
  expect(await status('POST', at, { kind: 'serial' })).toBe(409)
  await until(
    async () => marks,
    (all) => all.length === 2,
  )
  expect(marks).toEqual(['vnc by ann', 'serial by ann'])
  // Whoever comes by a guest link is told before joining.
  const link = await ask<{ path: string }>('POST', `/vms/${vm.id}/guest-links`, {
    ...{ label: 'visitor', kind: 'serial', mode: 'view', expiresInMinutes: 5 },
  })
  const guest = await fetch(`http://127.0.0.1:${port}/api/v1/guest/tickets`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: `http://127.0.0.1:${port}` },
    body: JSON.stringify({ secret: link.path.split('#')[1] }),
  })
  expect(((await guest.json()) as { recordings: { by: string }[] }).recordings.map(({ by }) => by)).toEqual([
    'ann',
    'ann',
  ])
  expect(await status('DELETE', `${at}/${screen.id}`)).toBe(409)
  expect(await status('POST', `${at}/${screen.id}/stop`, {}, viewer)).toBe(403)

  // One that is ended in order.
  const sizeOf = async (id: string) => (await ask<Recording>('GET', `${at}/${id}`)).sizeBytes
  await until(
    () => sizeOf(serial.id),
    (size) => size > 400,
  )
  const stopped = await ask<Recording>('POST', `${at}/${serial.id}/stop`, {})
  expect(stopped).toMatchObject({ state: 'complete', reason: 'ann ended it.' })
  await until(
    async () => marks,
    (all) => all.length === 1,
  )
  const content = await raw('GET', `${at}/${serial.id}/content`, undefined, viewer)
  expect(Number(content.headers.get('content-length'))).toBe(stopped.sizeBytes)
  const castText = await content.text()
  const said =
    parseCast(castText)
      ?.output.map(({ text }) => text)
      .join('') ?? ''
  expect(said.length).toBeGreaterThan(12)
  expect(heard).toContain(said)
  const part = await raw('GET', `${at}/${serial.id}/content`, undefined, viewer, { range: 'bytes=10-19' })
  expect([part.status, await part.text()]).toEqual([206, castText.slice(10, 20)])
  expect(await status('GET', `${at}/${serial.id}/content`, undefined, stranger)).toBe(404)

  // A rule of the administrator's records by itself, and is nobody else's to end.
  await ask('PATCH', `/vms/${vm.id}/recording-rule`, { serial: true })
  const byRule = await until(
    async () => (await ask<RecordingList>('GET', at)).items.find((one) => one.always),
    (found) => found !== undefined,
  )
  await until(
    async () => marks,
    (all) => all.length === 2,
  )
  expect(await status('PATCH', `/vms/${vm.id}/recording-rule`, { serial: false }, viewer)).toBe(403)

  // kill -9 in the middle of two.
  await until(
    () => sizeOf(byRule?.id ?? ''),
    (size) => size > 0,
  )
  const before = await until(
    () => sizeOf(screen.id),
    (size) => size > stopped.sizeBytes,
  )
  run.child.kill('SIGKILL')
  await run.ended
  run = server()
  port = await ready(run).catch((error: unknown) => {
    throw new Error(`${run.out()} ${run.err()}`, { cause: error })
  })
  const after = await ask<RecordingList>('GET', at)
  const cut = after.items.find(({ id }) => id === screen.id)
  expect(cut).toMatchObject({ state: 'incomplete', reason: 'The dashboard ended in the middle of it.' })
  expect(cut?.sizeBytes).toBeGreaterThanOrEqual(before)
  expect(after.items.find(({ id }) => id === byRule?.id)?.state).toBe('incomplete')
  expect(after.items.find(({ id }) => id === serial.id)).toEqual(stopped)
  // Nothing claims to be recorded but what the rule began anew.
  const now = await until(
    async () => (await ask<Vm>('GET', `/vms/${vm.id}`)).live?.recordings ?? [],
    (all) => all.length === 1,
  )
  expect(now[0]).toMatchObject({ kind: 'serial', by: 'the rule to always record' })
  const reader = createScreenReader()
  const bytes = Buffer.from(await (await raw('GET', `${at}/${screen.id}/content`)).arrayBuffer())
  const frames = reader.push(bytes)
  expect(reader.wholeBytes).toBe(bytes.length)
  expect(frames[0]?.type).toBe(FRAME.key)
  expect(frames.length).toBeGreaterThan(1)

  const files = readdirSync(join(dir, 'd/vms', vm.id, 'recordings'))
  expect(files.length).toBe(4)
  for (const name of files) expect(statSync(join(dir, 'd/vms', vm.id, 'recordings', name)).mode & 0o777).toBe(0o600)
  expect(await status('DELETE', `${at}/${screen.id}`)).toBe(204)
  expect((await ask<RecordingList>('GET', at)).items.length).toBe(3)

  // The end of the rule ends what it began; with the VM all go.
  await ask('PATCH', `/vms/${vm.id}/recording-rule`, { serial: false })
  expect((await ask<RecordingList>('GET', at)).items.every(({ state }) => state !== 'recording')).toBe(true)
  const log = await ask<{ items: { what: string }[] }>('GET', `/vms/${vm.id}/activity`)
  expect(log.items.map(({ what }) => what)).toEqual(
    expect.arrayContaining([
      'recordingStart',
      'recordingEnd',
      'recordingContent',
      'recordingDelete',
      'recordingRuleSet',
    ]),
  )
  await ask('POST', `/vms/${vm.id}/poweroff`)
  await ask('DELETE', `/vms/${vm.id}`)
  expect(await status('GET', at)).toBe(404)
  expect(readdirSync(join(dir, 'd/vms'))).toEqual([])
})
