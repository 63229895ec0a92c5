/** Recordings of a real QEMU's screen and serial console, read back byte by byte. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inflateSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseCast } from '#lib/recording/asciicast.ts'
import { createScreenReader, FRAME, PICTURE_SIZE_BYTES, type ScreenFrame } from '#lib/recording/screen-file.ts'
import { createSerialHub, type SerialHub } from '#server/console/serial-hub.ts'
import { until } from '#server/console/test-rig.ts'
import { mendRecording } from './mend.ts'
import { recordScreen } from './record-screen.ts'
import { recordSerial } from './record-serial.ts'
import { connectScreen } from './screen-client.ts'
import { DISK_FULL, SOURCE_GONE, TOO_LARGE, TOO_LONG } from './types.ts'

const QEMU = process.env.GUESTDECK_QEMU ?? '/usr/bin/qemu-system-x86_64'
/** Polls COM1, writes every byte back and shows it on the screen, for ever. */
const ECHO = [
  ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, 0xba, 0xf8, 0x03, 0xec, 0xee],
  ...[0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xed],
]

let dir: string
let qemu: ChildProcess
let hub: SerialHub
const socketPath = () => join(dir, 'vnc')
const said = () => Buffer.from(hub.history().head).toString('latin1')
const about = { vm: { id: 'vm', name: 'recorded' }, by: 'ada', startedAt: '2026-11-27T10:00:00.000Z' }
const NO_LIMITS = { maxBytes: 64 << 20, maxMs: 3_600_000 }

/** Asks until the guest has echoed it. */
async function type(text: string): Promise<void> {
  const before = said().length
  hub.write(Buffer.from(text))
  await until(() => said().slice(before).includes(text), `the guest echoed ${text}`, 60_000)
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gd-rec-'))
  const disk = Buffer.alloc(1 << 20)
  disk.set(ECHO)
  disk.set([0x55, 0xaa], 510)
  await writeFile(join(dir, 'disk'), disk)
  qemu = spawn(
    QEMU,
    [
      '-no-user-config -nodefaults -display none -machine q35,accel=tcg -m 32 -device VGA',
      `-vnc unix:${socketPath()},share=ignore`,
      `-chardev socket,id=ser0,path=${dir}/ser,server=on,wait=off -serial chardev:ser0`,
      `-drive if=ide,format=raw,file=${dir}/disk`,
    ].flatMap((part) => part.split(' ')),
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  await until(() => existsSync(socketPath()) && existsSync(join(dir, 'ser')), 'QEMU listens', 30_000)
  hub = createSerialHub(join(dir, 'ser'))
  expect(await hub.ready).toBe(true)
  for (const deadline = performance.now() + 60_000; !said().includes('?'); await sleep(100)) {
    hub.write(Buffer.from('?'))
    if (performance.now() > deadline) throw new Error('the guest never answered')
  }
}, 120_000)
afterAll(async () => {
  hub.close()
  if (qemu.exitCode === null && qemu.signalCode === null) {
    qemu.kill('SIGKILL')
    await once(qemu, 'exit')
  }
  await rm(dir, { recursive: true, force: true })
})

async function framesOf(path: string): Promise<{ frames: ScreenFrame[]; wholeBytes: number }> {
  const reader = createScreenReader()
  const frames = reader.push(await readFile(path))
  expect(reader.header?.vm.name).toBe('recorded')
  return { frames, wholeBytes: reader.wholeBytes }
}

interface Canvas {
  width: number
  height: number
  pixels: Buffer
}
/** Paints the rectangles of FramebufferUpdate messages, as RFC 6143 says. */
function paint(canvas: Canvas, message: Buffer): void {
  expect(message[0]).toBe(0)
  let at = 4
  for (let n = message.readUInt16BE(2); n > 0; n--) {
    const [x, y, w, h] = [0, 2, 4, 6].map((i) => message.readUInt16BE(at + i)) as [number, number, number, number]
    const encoding = message.readInt32BE(at + 8)
    at += 12
    if (encoding === -223) {
      Object.assign(canvas, { width: w, height: h, pixels: Buffer.alloc(w * h * 4) })
      continue
    }
    expect(encoding).toBe(0)
    for (let row = 0; row < h; row++, at += w * 4) {
      message.copy(canvas.pixels, ((y + row) * canvas.width + x) * 4, at, at + w * 4)
    }
  }
  expect(at).toBe(message.length)
}
const picturesOf = (frames: readonly ScreenFrame[]) => frames.filter(({ type }) => type !== FRAME.end)
const messageOf = ({ payload }: ScreenFrame) => inflateSync(payload.subarray(PICTURE_SIZE_BYTES))
function replay(frames: readonly ScreenFrame[]): Canvas {
  const canvas: Canvas = { width: 0, height: 0, pixels: Buffer.alloc(0) }
  for (const frame of picturesOf(frames)) {
    const view = Buffer.from(frame.payload)
    const [width, height] = [view.readUInt16BE(0), view.readUInt16BE(2)]
    if (frame.type === FRAME.key) Object.assign(canvas, { width, height, pixels: Buffer.alloc(width * height * 4) })
    paint(canvas, messageOf(frame))
    expect([canvas.width, canvas.height]).toEqual([width, height])
  }
  return canvas
}
/** The colour of each pixel; the fourth byte is nobody's. */
const differing = (a: Buffer, b: Buffer) => {
  let n = 0
  for (let i = 0; i < a.length; i += 4) if ((a.readUInt32LE(i) ^ b.readUInt32LE(i)) & 0xffffff) n++
  return n
}

test('a recording of the screen replays to the very picture the guest shows, from its beginning and from any key frame', async () => {
  const path = join(dir, 'a.gdscreen')
  const recording = await recordScreen({
    ...{ socketPath: socketPath(), path, about, limits: NO_LIMITS },
    times: { everyMs: 20, keyEveryMs: 300 },
  })
  /** At the latest when the cursor blinks. */
  const grown = async () => {
    const before = recording.sizeBytes
    await expect.poll(() => recording.sizeBytes, { timeout: 20_000, interval: 10 }).toBeGreaterThan(before)
  }
  for (const word of ['one ', 'two ', 'three ', 'four ', 'five ']) {
    await type(word)
    await grown()
  }
  const client = await connectScreen(socketPath(), AbortSignal.timeout(20_000))
  // The first may have been asked for before the last word was there; what comes after it has all.
  for (let pictures = 0; pictures < 3; pictures += 1) await grown()
  const now = await client.next(true)
  client.close()
  const end = await recording.stop('ada ended it.')
  expect(end).toMatchObject({ kind: 'asked', reason: 'ada ended it.', sizeBytes: statSync(path).size })
  expect(statSync(path).mode & 0o777).toBe(0o600)

  const { frames, wholeBytes } = await framesOf(path)
  expect(wholeBytes).toBe(end.sizeBytes)
  expect(frames.at(-1)?.type).toBe(FRAME.end)
  expect(frames[0]?.type).toBe(FRAME.key)
  expect(frames.every(({ atMs }, i) => i === 0 || atMs >= (frames[i - 1]?.atMs ?? 0))).toBe(true)
  const keys = frames.flatMap(({ type }, i) => (type === FRAME.key ? [i] : []))
  expect(keys.length).toBeGreaterThan(1)

  const truth: Canvas = { width: now.width, height: now.height, pixels: Buffer.alloc(now.width * now.height * 4) }
  paint(truth, Buffer.concat(now.pieces))
  expect(truth.pixels.some((byte) => byte !== 0)).toBe(true)
  for (const from of [0, keys.at(-1) ?? 0]) {
    const shown = replay(frames.slice(from))
    expect([shown.width, shown.height]).toEqual([now.width, now.height])
    // The cursor blinks: one cell of text.
    expect(differing(shown.pixels, truth.pixels)).toBeLessThanOrEqual(9 * 16)
  }
})

test('a recording of the serial console is what the guest said while it ran, byte for byte, and nothing from before', async () => {
  const path = join(dir, 'b.cast')
  await type('before ')
  const recording = await recordSerial({ hub, path, title: 'recorded', limits: NO_LIMITS })
  const text = 'The quick brown fox\x1b[31m red\x1b[0m "quoted" \\ \x07 \u00fc\u20ac\r\n'
  const before = said().length
  hub.write(Buffer.from(text))
  await until(() => hub.history().head.length >= before + Buffer.byteLength(text), 'the guest echoed', 60_000)
  const end = await recording.stop('ada ended it.')
  const cast = parseCast(await readFile(path, 'utf8'))
  expect(cast?.header).toMatchObject({ version: 2, title: 'recorded' })
  expect(cast?.output.map((line) => line.text).join('')).toBe(text)
  expect(cast?.durationMs).toBe(end.durationMs)
  expect((await readFile(path, 'utf8')).trimEnd().split('\n').at(-1)).toContain('"m","ada ended it."')
})

test('it ends by itself when it is long or large enough, and says which', async () => {
  const path = (name: string) => join(dir, name)
  const long = await recordScreen({
    ...{ socketPath: socketPath(), path: path('long.gdscreen'), about },
    limits: { ...NO_LIMITS, maxMs: 300 },
  })
  expect(await long.ended).toMatchObject({ kind: 'limit', reason: TOO_LONG })

  const maxBytes = 12_000
  const large = await recordScreen({
    ...{ socketPath: socketPath(), path: path('large.gdscreen'), about },
    ...{ limits: { ...NO_LIMITS, maxBytes }, times: { everyMs: 10, keyEveryMs: 10 } },
  })
  const serial = await recordSerial({
    hub,
    path: path('large.cast'),
    title: 'x',
    limits: { ...NO_LIMITS, maxBytes: 2000 },
  })
  let typing = true
  const typist = (async () => {
    while (typing) await type(`${'abcdefghij'.repeat(6)}\r\n`)
  })()
  expect(await large.ended).toMatchObject({ kind: 'limit', reason: TOO_LARGE })
  expect(await serial.ended).toMatchObject({ kind: 'limit', reason: TOO_LARGE })
  typing = false
  await typist
  expect(statSync(path('large.gdscreen')).size).toBeLessThanOrEqual(maxBytes)
  expect(statSync(path('large.cast')).size).toBeLessThanOrEqual(2000)
  expect((await framesOf(path('large.gdscreen'))).frames.at(-1)?.type).toBe(FRAME.end)
})

test('a file that was cut off anywhere is mended to its last whole piece', async () => {
  const whole = await readFile(join(dir, 'a.gdscreen'))
  const path = join(dir, 'cut.gdscreen')
  const { frames } = await framesOf(join(dir, 'a.gdscreen'))
  for (const cut of [whole.length - 1, Math.floor(whole.length * 0.9), Math.floor(whole.length * 0.8)]) {
    await writeFile(path, whole.subarray(0, cut))
    const mended = await mendRecording(path, 'vnc')
    expect(mended?.isWhole).toBe(false)
    expect(statSync(path).size).toBe(mended?.sizeBytes)
    expect(mended?.sizeBytes).toBeLessThanOrEqual(cut)
    const left = await framesOf(path)
    expect(left.wholeBytes).toBe(mended?.sizeBytes)
    expect(left.frames).toEqual(frames.slice(0, left.frames.length))
    expect(left.frames.length).toBeGreaterThan(0)
  }
  // A power cut can leave a length without its bytes.
  const lost = Math.floor(whole.length / 3)
  await writeFile(path, Buffer.concat([whole.subarray(0, -lost), Buffer.alloc(lost)]))
  const holed = await mendRecording(path, 'vnc')
  expect(holed?.sizeBytes).toBeLessThanOrEqual(whole.length - lost)
  expect((await framesOf(path)).frames.length).toBeGreaterThan(0)
  await truncate(path, 30)
  expect(await mendRecording(path, 'vnc')).toBe(null)

  const cast = await readFile(join(dir, 'b.cast'))
  await writeFile(join(dir, 'cut.cast'), cast.subarray(0, -7))
  const mended = await mendRecording(join(dir, 'cut.cast'), 'serial')
  expect(mended?.sizeBytes).toBe(cast.lastIndexOf('\n', -2) + 1)
  expect(parseCast((await readFile(join(dir, 'cut.cast'))).toString())?.output.length).toBeGreaterThan(0)
})

test('a server that is not understood is no recording, and leaves no file', async () => {
  const answers: Record<string, Buffer> = {
    nonsense: Buffer.from('SSH-2.0-something'),
    // A screen of 4 pixels, then pixels beside it.
    beside: Buffer.concat([
      Buffer.from([...Buffer.from('RFB 003.008\n'), 1, 1, 0, 0, 0, 0, 0, 2, 0, 2]),
      Buffer.alloc(20),
      Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0x40, 0, 0x40, 0, 0, 0, 0, 0]),
    ]),
    unasked: Buffer.concat([
      Buffer.from([...Buffer.from('RFB 003.008\n'), 1, 1, 0, 0, 0, 0, 0, 2, 0, 2]),
      Buffer.alloc(20),
      Buffer.from([9]),
    ]),
  }
  for (const [name, bytes] of Object.entries(answers)) {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.resume()
      socket.write(bytes)
    })
    server.listen(join(dir, name))
    await once(server, 'listening')
    const path = join(dir, `${name}.gdscreen`)
    await expect(
      recordScreen({ socketPath: join(dir, name), path, about, limits: NO_LIMITS, times: { connectMs: 5000 } }),
    ).rejects.toThrow()
    expect(existsSync(path)).toBe(false)
    await new Promise((resolve) => server.close(resolve))
  }
})

test.skipIf(process.getuid?.() !== 0)(
  'a full disk ends the recording with what is there, and neither the guest nor its consoles (F26)',
  async () => {
    const small = join(dir, 'small')
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', small])
    try {
      await writeFile(join(small, 'ballast'), Buffer.alloc(96 << 10))
      const path = join(small, 'full.gdscreen')
      // First, while there is room for its first line; a screen full of text takes some 40 KiB.
      const serial = await recordSerial({ hub, path: join(small, 'full.cast'), title: 'x', limits: NO_LIMITS })
      const screen = await recordScreen({
        ...{ socketPath: socketPath(), path, about, limits: NO_LIMITS },
        times: { everyMs: 10, keyEveryMs: 10 },
      })
      let isFull = false
      void screen.ended.then(() => {
        isFull = true
      })
      while (!isFull) await type(`${'abcdefghij'.repeat(6)}\r\n`)
      expect(await screen.ended).toMatchObject({ kind: 'failed', reason: DISK_FULL })
      const { frames } = await framesOf(path)
      expect(frames.length).toBeGreaterThan(0)
      expect(replay(frames).pixels.some((byte) => byte !== 0)).toBe(true)
      await type('still here ')
      await serial.stop('enough')
    } finally {
      execFileSync('umount', ['-l', small])
    }
  },
)

test('the end of QEMU ends both with what came before whole', async () => {
  const screen = await recordScreen({
    socketPath: socketPath(),
    path: join(dir, 'd.gdscreen'),
    about,
    limits: NO_LIMITS,
  })
  const serial = await recordSerial({ hub, path: join(dir, 'd.cast'), title: 'x', limits: NO_LIMITS })
  await type('last words')
  qemu.kill('SIGKILL')
  expect(await screen.ended).toMatchObject({ kind: 'gone', reason: SOURCE_GONE })
  expect(await serial.ended).toMatchObject({ kind: 'gone', reason: SOURCE_GONE })
  expect((await framesOf(join(dir, 'd.gdscreen'))).frames.at(-1)?.type).toBe(FRAME.end)
  expect(
    parseCast(await readFile(join(dir, 'd.cast'), 'utf8'))
      ?.output.map(({ text }) => text)
      .join(''),
  ).toBe('last words')
})
