import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  createToolFinder,
  findHostTools,
  findMicrovmFirmware,
  findVirtioWinIso,
  virtiofsdDialect,
} from './host-tools.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gdt-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function put(path: string, text = 'x'): string {
  mkdirSync(join(dir, path, '..'), { recursive: true })
  writeFileSync(join(dir, path), text)
  return join(dir, path)
}

test('the two daemons called virtiofsd are told apart by what they print', () => {
  const c = 'virtiofsd version 7.2.22 (Debian)\nCopyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers'
  expect([virtiofsdDialect(c), virtiofsdDialect('virtiofsd 1.13.2'), virtiofsdDialect('')]).toEqual([
    'c',
    'rust',
    'rust',
  ])
})

test('virtiofsd is taken from the first place that has one, with its version', async () => {
  const program = put('virtiofsd', '#!/bin/sh\necho virtiofsd 1.13.2\n')
  chmodSync(program, 0o755)
  const found = await findHostTools([join(dir, 'missing'), program, '/bin/true'])
  expect(found.virtiofsd).toEqual({ path: program, version: '1.13.2', dialect: 'rust' })
  expect((await findHostTools([join(dir, 'missing')])).virtiofsd).toBeNull()
})

test('a program that does not tell its version is there all the same', async () => {
  const program = put('virtiofsd', '#!/bin/sh\nexit 1\n')
  chmodSync(program, 0o755)
  expect((await findHostTools([program])).virtiofsd).toMatchObject({ path: program, version: null })
})

test('a program is asked for its version again when its file has changed, and not before', async () => {
  const program = put('virtiofsd', `#!/bin/sh\necho >>${join(dir, 'asked')}\necho virtiofsd 1.13.2\n`)
  chmodSync(program, 0o755)
  const find = createToolFinder([program])
  const versions = async () => [(await find()).virtiofsd?.version, readFileSync(join(dir, 'asked'), 'utf8').length]
  expect(await versions()).toEqual(['1.13.2', 1])
  expect(await versions()).toEqual(['1.13.2', 1])
  put('virtiofsd', `#!/bin/sh\necho >>${join(dir, 'asked')}\necho virtiofsd 1.14.0\n`)
  expect(await versions()).toEqual(['1.14.0', 2])
  rmSync(program)
  expect((await find()).virtiofsd).toBeNull()
})

test('firmware of microvm is searched where QEMU searches, in its order', () => {
  const [first, second] = [join(dir, 'a'), join(dir, 'b')]
  const bios = put('b/bios-microvm.bin')
  const qboot = put('a/qboot.rom')
  put('b/qboot.rom')
  expect(findMicrovmFirmware([first, second])).toEqual({ bios, qboot })
  expect(findMicrovmFirmware([first])).toEqual({ bios: null, qboot })
})

test('the CD with the Windows drivers is the first that is there', () => {
  const iso = put('virtio-win.iso')
  expect(findVirtioWinIso([join(dir, 'none.iso'), iso])).toBe(iso)
  expect(findVirtioWinIso([dir])).toBeNull()
})
