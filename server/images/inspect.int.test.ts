/** The inspector against what the real qemu-img makes: every dialect of qcow2 is read, every hostile one refused. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { identify, inspectImage } from './inspect.ts'
import { type BoundedReader, fileReader } from './reader.ts'

const dir = mkdtempSync(join(tmpdir(), 'gd-insp-'))
const file = (name: string) => join(dir, name)
const qemuImg = (...args: string[]) => execFileSync('qemu-img', args, { stdio: ['ignore', 'pipe', 'pipe'] })
/**
 * For LUKS qemu-img times its key derivation, and gives up where the kernel's accounting counted no tick of it: luck,
 * on a busy machine (QEMU: crypto/pbkdf.c, qcrypto_pbkdf2_count_iters).
 */
function qemuImgTimed(...args: string[]) {
  for (let attempt = 1; ; attempt++) {
    try {
      return qemuImg(...args)
    } catch (error) {
      if (attempt === 50 || !String(error).includes('Unable to get accurate CPU usage')) throw error
    }
  }
}
let canary: Server
let touched = 0

async function withReader<T>(name: string, work: (reader: BoundedReader) => Promise<T>): Promise<T> {
  const handle = await open(file(name))
  try {
    return await work(await fileReader(handle))
  } finally {
    await handle.close()
  }
}
/** What may be used as it lies. */
const inspect = (name: string) => withReader(name, inspectImage)
/** What may be imported. */
const look = (name: string) => withReader(name, identify)

beforeAll(async () => {
  canary = createServer((socket) => {
    touched++
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
})
afterAll(() => {
  canary.close()
  rmSync(dir, { recursive: true, force: true })
})

it.each([
  ['plain', ''],
  ['version 2', 'compat=0.10'],
  ['smallest clusters', 'cluster_size=512'],
  ['largest clusters', 'cluster_size=2M'],
  ['subclusters', 'extended_l2=on,cluster_size=128k'],
  ['zstd', 'compression_type=zstd'],
  ['narrow refcounts', 'refcount_bits=1'],
  ['preallocated metadata', 'preallocation=metadata'],
])('qcow2, %s, is read as qemu-img made it', async (name, options) => {
  const path = `${name.replaceAll(' ', '-')}.qcow2`
  qemuImg('create', '-q', '-f', 'qcow2', ...(options === '' ? [] : ['-o', options]), file(path), '100M')
  expect(await inspect(path)).toMatchObject({ format: 'qcow2', kind: 'disk', virtualSizeBytes: 100 * 2 ** 20 })
})

it('a qcow2 with internal snapshots and a bitmap is read', async () => {
  qemuImg('create', '-q', '-f', 'qcow2', file('snap.qcow2'), '10M')
  qemuImg('snapshot', '-c', 'one', file('snap.qcow2'))
  qemuImg('bitmap', '--add', file('snap.qcow2'), 'b0')
  expect(await inspect('snap.qcow2')).toMatchObject({ format: 'qcow2' })
})

it.each(['qed', 'parallels', 'qcow'])('%s from qemu-img is refused (I07)', async (format) => {
  qemuImg('create', '-q', '-f', format, file(`x.${format}`), '64M')
  await expect(inspect(`x.${format}`)).rejects.toMatchObject({ code: 'unsupported_format' })
})

it.each([
  ['vmdk', ['subformat=monolithicSparse', 'subformat=streamOptimized']],
  ['vdi', ['static=off', 'static=on']],
  ['vhdx', ['subformat=dynamic', 'subformat=fixed', 'block_size=16M', 'log_size=4M']],
  ['vpc', ['subformat=dynamic,force_size=on', 'subformat=fixed,force_size=on']],
] as const)('%s as qemu-img makes it is read, every kind that stands alone', async (format, kinds) => {
  for (const [index, options] of kinds.entries()) {
    const name = `ok${index}.${format}`
    qemuImg('create', '-q', '-f', format, '-o', options, file(name), '100M')
    if (options.includes('streamOptimized')) {
      qemuImg('convert', '-f', 'vmdk', '-O', 'vmdk', '-o', options, file(`ok0.${format}`), file(name))
    }
    expect(await look(name), options).toMatchObject({
      is: 'image',
      facts: { kind: 'disk', format, virtualSizeBytes: 100 * 2 ** 20 },
    })
    await expect(inspect(name)).rejects.toThrow('Import it')
  }
})

it.each(['monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'])(
  'a VMDK of the type %s is refused: its data are in other files (I04)',
  async (subformat) => {
    qemuImg('create', '-q', '-f', 'vmdk', '-o', `subformat=${subformat}`, file(`${subformat}.vmdk`), '100M')
    await expect(look(`${subformat}.vmdk`)).rejects.toMatchObject({
      code: expect.stringMatching(/unsupported_format|image_has_backing/),
    })
    for (const part of readdirSync(dir).filter((name) => name.startsWith(`${subformat}-s0`))) {
      await expect(look(part)).rejects.toBeInstanceOf(EngineError)
    }
  },
)

it('a VMDK with a parent is refused without a look at the parent (I06)', async () => {
  qemuImg('create', '-q', '-f', 'vmdk', file('base.vmdk'), '100M')
  qemuImg('create', '-q', '-f', 'vmdk', '-b', file('base.vmdk'), '-F', 'vmdk', file('child.vmdk'))
  await expect(look('child.vmdk')).rejects.toMatchObject({ code: 'image_has_backing' })
})

it('encrypted images are refused (I07)', async () => {
  const secret = ['--object', 'secret,id=s,data=abc']
  qemuImgTimed('create', '-q', ...secret, '-f', 'luks', '-o', 'key-secret=s,iter-time=10', file('x.luks'), '1M')
  await expect(inspect('x.luks')).rejects.toMatchObject({
    code: 'unsupported_format',
    message: expect.stringContaining('LUKS'),
  })
  const inside = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10'
  qemuImgTimed('create', '-q', ...secret, '-f', 'qcow2', '-o', inside, file('enc.qcow2'), '1M')
  await expect(inspect('enc.qcow2')).rejects.toMatchObject({ message: expect.stringContaining('encrypted') })
})

it('images that point elsewhere are refused without a look there (I01, I02, I13)', async () => {
  const { port } = canary.address() as AddressInfo
  for (const [name, backing] of [
    ['abs', '/etc/passwd'],
    ['up', '../../etc/passwd'],
    ['json', 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}'],
    ['nbd', `nbd://127.0.0.1:${port}`],
    ['self', `${dir}/./self.qcow2`],
  ] as const) {
    qemuImg('create', '-q', '-f', 'qcow2', '-u', '-b', backing, '-F', 'raw', file(`${name}.qcow2`), '1M')
    await expect(inspect(`${name}.qcow2`)).rejects.toMatchObject({ code: 'image_has_backing' })
  }
  qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${file('victim')},data_file_raw=on`, file('ext.qcow2'), '1M')
  await expect(inspect('ext.qcow2')).rejects.toMatchObject({ message: expect.stringContaining('data-file') })
  expect(touched).toBe(0)
})
