/** Reading disks through the real qemu-nbd in the real sandbox. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDiskReader, type DiskReader } from './disk-reader.ts'
import { connectNbd } from './nbd.ts'
import { createToolSandbox } from './sandbox.ts'

const MiB = 2 ** 20
let dir: string
let readers: string
let disks: DiskReader
const signal = () => AbortSignal.timeout(60_000)
const qemuIo = (file: string, ...commands: string[]) =>
  execFileSync('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), file], { stdio: 'pipe' })

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'gd-reader-'))
  readers = mkdtempSync(join(tmpdir(), 'gd-readers-'))
  disks = createDiskReader(await createToolSandbox(), readers)
})
afterAll(() => {
  for (const one of [dir, readers]) rmSync(one, { recursive: true, force: true })
})

const blank = (name: string, size = '64M', extra: string[] = []) => {
  const path = join(dir, name)
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...extra, path, size])
  return path
}

test('a chain reads as the guest would see it, and nothing is left when it is closed', async () => {
  const base = blank('base.qcow2')
  qemuIo(base, 'write -P 0x11 0 1M', 'write -P 0x12 1M 1M')
  const top = blank('top.qcow2', '64M', ['-b', base, '-F', 'qcow2'])
  qemuIo(top, 'write -P 0x22 1M 64k')
  const chain = [top, base].map((path) => ({ path, format: 'qcow2' as const }))
  await using disk = await disks.open({ chain }, signal())
  expect(disk.sizeBytes).toBe(64 * MiB)
  const bytes = await disk.read(MiB - 2, 4)
  expect(bytes.toString('hex')).toBe('11112222')
  expect((await disk.read(MiB + 65536, 1)).toString('hex')).toBe('12')
  expect((await disk.read(3 * MiB, 2 * MiB)).every((byte) => byte === 0)).toBe(true)
  // Several at once get their own answers.
  const many = await Promise.all([0, 1, 2, 3].map((n) => disk.read(n * 512 * 1024, 1)))
  expect(many.map((one) => one[0])).toEqual([0x11, 0x11, 0x22, 0x12])
  expect(await disk.read(64 * MiB, 10)).toHaveLength(0)
  await disk.close()
  expect(readdirSync(readers)).toEqual([])
  await expect(disk.read(0, 1)).rejects.toMatchObject({ code: 'pool_unavailable' })
})

test('a file that names another file shows nothing of it (I01)', async () => {
  const canary = join(dir, 'canary')
  writeFileSync(canary, Buffer.alloc(MiB, 'secret'))
  const hostile = blank('hostile.qcow2')
  execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', canary, '-F', 'raw', hostile])
  await using disk = await disks.open({ chain: [{ path: hostile, format: 'qcow2' }] }, signal())
  expect((await disk.read(0, 4096)).every((byte) => byte === 0)).toBe(true)
})

test('a raw disk in which a guest wrote a qcow2 header is its bytes (I10)', async () => {
  const path = join(dir, 'raw')
  writeFileSync(path, Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(MiB - 4)]))
  await using disk = await disks.open({ chain: [{ path, format: 'raw' }] }, signal())
  expect((await disk.read(0, 4)).toString('latin1')).toBe('QFI\xfb')
})

test('reading keeps nobody from writing, and whoever writes keeps nobody from reading', async () => {
  const path = blank('busy.qcow2')
  await using disk = await disks.open({ chain: [{ path, format: 'qcow2' }] }, signal())
  qemuIo(path, 'write -P 0x33 0 64k')
  // A QEMU with the write lock on it, as a running guest has.
  const holder = spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'pipe', 'ignore'] })
  try {
    holder.stdin.write('read 0 512\n')
    await once(holder.stdout, 'data')
    await using second = await disks.open({ chain: [{ path, format: 'qcow2' }] }, signal())
    expect((await second.read(0, 1))[0]).toBe(0x33)
  } finally {
    holder.kill('SIGKILL')
    await once(holder, 'close')
  }
  expect(disk.sizeBytes).toBe(64 * MiB)
})

test('a damaged file is a sentence, not a wait, and leaves nothing', async () => {
  const path = join(dir, 'broken.qcow2')
  writeFileSync(path, 'QFI\xfbrubbish', 'latin1')
  await expect(disks.open({ chain: [{ path, format: 'qcow2' }] }, signal())).rejects.toMatchObject({
    code: 'unreadable',
  })
  expect(existsSync(path)).toBe(true)
  expect(readdirSync(readers)).toEqual([])
})

test('a server that answers nonsense, too much or nothing is hung up on', async () => {
  const serve = async (answer: (socket: import('node:net').Socket) => void) => {
    const path = join(dir, `nbd-${Math.random().toString(36).slice(2)}`)
    const server = createServer(answer)
    server.listen(path)
    await once(server, 'listening')
    try {
      await expect(connectNbd(path)).rejects.toMatchObject({ code: 'pool_unavailable' })
    } finally {
      server.close()
    }
  }
  await serve((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  await serve((socket) => socket.destroy())
  // A good hello, then an answer of four gigabytes.
  await serve((socket) => {
    const hello = Buffer.from('4e42444d41474943494841564 54f50540003'.replaceAll(' ', ''), 'hex')
    const reply = Buffer.alloc(20)
    reply.writeBigUInt64BE(0x0003e889045565a9n, 0)
    reply.writeUInt32BE(7, 8)
    reply.writeUInt32BE(3, 12)
    reply.writeUInt32BE(0xffffffff, 16)
    socket.on('error', () => {})
    socket.write(Buffer.concat([hello, reply]))
  })
})

test('a snapshot inside a file reads as it was then', async () => {
  const path = blank('inside.qcow2')
  const tag = `gd-${'0'.repeat(36)}`
  qemuIo(path, 'write -P 0x41 0 64k')
  execFileSync('qemu-img', ['snapshot', '-c', tag, path])
  qemuIo(path, 'write -P 0x42 0 64k')
  const chain = [{ path, format: 'qcow2' as const }]
  await using then = await disks.open({ chain, tag }, signal())
  await using present = await disks.open({ chain }, signal())
  expect([(await then.read(0, 1))[0], (await present.read(0, 1))[0]]).toEqual([0x41, 0x42])
})
