/** Files written without a program, judged by qemu-img. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { emptyQcow2Bytes, writeEmptyQcow2 } from './qcow2-write.ts'

const dir = mkdtempSync(join(tmpdir(), 'gd-q2-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const img = (...args: string[]) => execFileSync('qemu-img', args).toString()

it.each([
  ['the smallest', 2 ** 20],
  ['of one table entry', 512 * 2 ** 20],
  ['of 64 TiB, whose table takes many clusters', 2 ** 46],
])('an empty file %s is whole, all zeros, and longer once something is written', async (_, size) => {
  const path = join(dir, `${size}.qcow2`)
  await writeEmptyQcow2(path, size, null, null)
  expect(img('check', '-f', 'qcow2', path)).toContain('No errors')
  expect(JSON.parse(img('info', '--output=json', '-f', 'qcow2', path))).toMatchObject({ 'virtual-size': size })
  expect(statSync(path)).toMatchObject({ size: emptyQcow2Bytes(size), mode: 0o100600 })
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 512k 64k', path])
  expect(statSync(path).size).toBeGreaterThan(emptyQcow2Bytes(size))
  expect(img('check', '-f', 'qcow2', path)).toContain('No errors')
})

it('a file over another shows it, also by the name in its header', async () => {
  const base = join(dir, 'base with spaces, and commas.raw')
  img('create', '-q', '-f', 'raw', base, '4M')
  execFileSync('qemu-io', ['-f', 'raw', '-c', 'write -P 9 1M 64k', base])
  const path = join(dir, 'over.qcow2')
  await writeEmptyQcow2(path, 8 * 2 ** 20, { path: base, format: 'raw' }, null)
  expect(JSON.parse(img('info', '--output=json', '-f', 'qcow2', path))).toMatchObject({
    'backing-filename': base,
    'backing-filename-format': 'raw',
  })
  img('resize', '-q', '-f', 'raw', base, '8M')
  expect(img('compare', '-f', 'qcow2', '-F', 'raw', path, base)).toContain('identical')
  await expect(writeEmptyQcow2(path, 2 ** 20, null, null)).rejects.toMatchObject({ code: 'EEXIST' })
})
