import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  createFirmwareFinder,
  findSecureBootFirmware,
  findUefiFirmware,
  readDescriptor,
  readSecureBootDescriptor,
} from './firmware.ts'

interface Change {
  features?: readonly string[]
  mode?: string
  format?: string
  machines?: readonly string[]
  types?: readonly string[]
}

function descriptor(code: string, vars: string, change: Change = {}): string {
  const format = change.format ?? 'raw'
  return JSON.stringify({
    description: 'test',
    'interface-types': change.types ?? ['uefi'],
    mapping: {
      device: 'flash',
      ...(change.mode !== undefined && { mode: change.mode }),
      executable: { filename: code, format },
      'nvram-template': { filename: vars, format },
    },
    targets: [{ architecture: 'x86_64', machines: change.machines ?? ['pc-i440fx-*', 'pc-q35-*'] }],
    features: change.features ?? ['acpi-s3', 'amd-sev', 'verbose-dynamic'],
    tags: [],
  })
}

describe('a firmware descriptor', () => {
  test('of an ordinary build is taken, raw or qcow2, with or without the word split', () => {
    expect(readDescriptor(descriptor('/c', '/v'))).toEqual({ code: '/c', vars: '/v', format: 'raw' })
    expect(readDescriptor(descriptor('/c', '/v', { format: 'qcow2', mode: 'split' }))).toEqual({
      code: '/c',
      vars: '/v',
      format: 'qcow2',
    })
  })

  test.each<[string, Change]>([
    ['needs SMM', { features: ['requires-smm'] }],
    ['has Secure Boot', { features: ['secure-boot'] }],
    ['has enrolled keys', { features: ['enrolled-keys'] }],
    ['is one combined file', { mode: 'combined' }],
    ['keeps no variables', { mode: 'stateless' }],
    ['is for other machines', { machines: ['virt-*'] }],
    ['is BIOS', { types: ['bios'] }],
    ['has an unknown file format', { format: 'vmdk' }],
  ])('that %s is passed over', (_why, change) => {
    expect(readDescriptor(descriptor('/c', '/v', change))).toBeNull()
  })

  test('with Secure Boot is for guests that ask for it, unless it is for encrypted guests alone', () => {
    const secure = (features: readonly string[]) => readSecureBootDescriptor(descriptor('/c', '/v', { features }))
    expect(secure(['secure-boot', 'requires-smm', 'enrolled-keys', 'amd-sev'])).toMatchObject({
      code: '/c',
      enrolledKeys: true,
      needsSmm: true,
    })
    expect(secure(['acpi-s3'])).toBeNull()
    expect(secure(['secure-boot', 'amd-sev-snp'])).toBeNull()
  })

  test('that is damaged or maps memory is passed over', () => {
    expect(readDescriptor('{"mapping":')).toBeNull()
    expect(readDescriptor('')).toBeNull()
    expect(readDescriptor('{"interface-types":["uefi"],"mapping":{"device":"memory","filename":"/x"}}')).toBeNull()
  })
})

describe('the search', () => {
  let dir: string
  const put = (name: string, text = 'x') => {
    const path = join(dir, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, text)
    return path
  }
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'gdf-'))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  test('goes by file name, and the administrator’s directory hides the distribution’s file of the same name', () => {
    const [code, vars, other] = [put('code.fd'), put('vars.fd'), put('other.fd')]
    put('usr/50-a.json', descriptor(code, vars))
    put('usr/60-b.json', descriptor(other, vars))
    const dirs = [join(dir, 'etc'), join(dir, 'usr')]
    expect(findUefiFirmware({ descriptorDirs: dirs, known: [] })?.code).toBe(code)
    put('etc/50-a.json', '')
    expect(findUefiFirmware({ descriptorDirs: dirs, known: [] })?.code).toBe(other)
  })

  test('passes over descriptors whose files are gone, then tries the known places', () => {
    put('usr/50-a.json', descriptor('/nowhere/code.fd', '/nowhere/vars.fd'))
    const known = [{ code: put('code.bin'), vars: put('vars.bin'), format: 'raw' as const }]
    expect(findUefiFirmware({ descriptorDirs: [join(dir, 'usr')], known })).toEqual(known[0])
    expect(findUefiFirmware({ descriptorDirs: [join(dir, 'usr')], known: [] })).toBeNull()
  })

  test('for Secure Boot takes a store with keys before one without, whatever comes first', () => {
    const [code, vars, keys] = [put('code.fd'), put('vars.fd'), put('keys.fd')]
    put('usr/10-a.json', descriptor(code, vars, { features: ['secure-boot', 'requires-smm'] }))
    put('usr/20-plain.json', descriptor(code, vars))
    const options = { descriptorDirs: [join(dir, 'usr')], known: [] }
    expect(findSecureBootFirmware(options)).toEqual({ code, vars, format: 'raw', enrolledKeys: false, needsSmm: true })
    put('usr/30-b.json', descriptor(code, keys, { features: ['secure-boot', 'enrolled-keys'] }))
    expect(findSecureBootFirmware(options)).toMatchObject({ vars: keys, enrolledKeys: true, needsSmm: false })
    expect(findUefiFirmware(options)?.vars).toBe(vars)
    expect(findSecureBootFirmware({ descriptorDirs: [], known: [] })).toBeNull()
  })

  test('asked again notices that the files went', () => {
    const [code, vars] = [put('code.fd'), put('vars.fd')]
    put('usr/50-a.json', descriptor(code, vars))
    const find = createFirmwareFinder([join(dir, 'usr')])
    expect(find().uefi?.code).toBe(code)
    expect(find()).toBe(find())
    rmSync(vars)
    expect(find().uefi?.vars).not.toBe(vars)
  })
})
