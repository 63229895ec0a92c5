import { readFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { assertSocketPathsFit, dataPaths, SOCKET_PATH_MAX_BYTES, vmRunPaths } from './paths.ts'

const doc = readFileSync(join(import.meta.dirname, '../docs/on-disk-layout.md'), 'utf8')
const VM = '0190f000-0000-7000-8000-000000000000'

/** Every path a set of paths can give, with the placeholders the document uses. */
function allNames(paths: object, root: string, args: Record<string, string[]>): string[] {
  return Object.entries(paths).map(([key, value]) => {
    const path: unknown = typeof value === 'function' ? value(...(args[key] ?? [])) : value
    if (typeof path !== 'string') throw new Error(`${key} is not a path`)
    return relative(root, path)
  })
}

describe('every name on disk', () => {
  it('in the data directory is in the operators’ documentation', () => {
    const names = allNames(dataPaths('/data'), '/data', {
      image: ['<image id>'],
      upload: ['<id>'],
      partial: ['<id>'],
      proof: ['<backup id>'],
      appliance: ['<key>'],
      sharedDisk: ['<owner id>', '<serial>'],
      vmDir: ['<vm id>'],
      disk: ['<vm id>', '<device id>'],
      nvram: ['<vm id>'],
      nvramOrigin: ['<vm id>'],
      tpmDir: ['<vm id>'],
      seed: ['<vm id>', '<seed id>'],
      snapshotsDir: ['<vm id>'],
      snapshotNvram: ['<vm id>', '<snapshot id>'],
      snapshotTpm: ['<vm id>', '<snapshot id>'],
      snapshotScreen: ['<vm id>', '<snapshot id>'],
      recordingsDir: ['<vm id>'],
      recording: ['<vm id>', '<recording id>', 'vnc'],
      unfinished: ['<vm id>'],
    }).filter((name) => name !== '')
    expect(names.length).toBeGreaterThan(8)
    for (const name of names) expect(doc, name).toContain(name)
  })

  it('in a run directory is in the operators’ documentation', () => {
    const { dir, ...files } = vmRunPaths('/run/guestdeck', VM)
    expect(dir).toBe(`/run/guestdeck/${VM}`)
    expect(Object.keys(files).length).toBeGreaterThan(7)
    for (const file of Object.values(files)) expect(doc, file).toContain(`\`${basename(file)}\``)
  })

  it('is distinct', () => {
    const files = Object.values(vmRunPaths('/run/guestdeck', VM))
    expect(new Set(files).size).toBe(files.length)
  })
})

describe('socket paths', () => {
  const runDirOf = (bytes: number) => `/${'r'.repeat(bytes - 1)}`
  const fitting = SOCKET_PATH_MAX_BYTES - Buffer.byteLength(`/${VM}/qmp2.sock`)

  it('fit up to the kernel’s limit, and one byte more is refused with the length that would fit (F45)', () => {
    expect(() => assertSocketPathsFit(runDirOf(fitting))).not.toThrow()
    expect(() => assertSocketPathsFit(runDirOf(fitting + 1))).toThrow(`at most ${fitting} bytes`)
  })

  it('count bytes, not characters', () => {
    expect(() => assertSocketPathsFit(`/${'é'.repeat(fitting / 2)}`)).toThrow('GUESTDECK_RUN')
  })

  it('have no longer one than the one that is measured', () => {
    const sockets = Object.values(vmRunPaths('/r', VM)).filter((path) => path.endsWith('.sock'))
    expect(Math.max(...sockets.map((path) => Buffer.byteLength(path)))).toBe(Buffer.byteLength(`/r/${VM}/qmp2.sock`))
  })
})
