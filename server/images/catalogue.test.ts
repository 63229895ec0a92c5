import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCatalogue, readEntries } from './catalogue.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-cat-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const entry = { id: 'lab', name: 'Lab', os: 'lab', guest: 'linux', kind: 'iso', memoryMiB: 512, diskGiB: 4 }
const own = { ...entry, directories: ['http://mirror.lab/isos'], file: 'lab.iso', list: 'SHA256SUMS' }

describe('our own catalogue', () => {
  it('is right to its last entry, and names every kind of guest it promises', async () => {
    const shipped: unknown = JSON.parse(readFileSync(join(import.meta.dirname, 'catalogue.json'), 'utf8'))
    const { entries, problems } = readEntries(shipped)
    expect(problems).toEqual([])
    const systems = ['debian', 'ubuntu', 'fedora', 'alpine', 'rocky', 'alma', 'opensuse', 'arch', 'freebsd', 'windows']
    expect(new Set(entries.map(({ os }) => os))).toEqual(new Set(systems))
    for (const { directories } of entries) for (const url of directories) expect(url).toMatch(/^https:\/\/.*\/$/)
  })

  it('holds no checksum of its own: publishers change what lies behind these addresses', () => {
    expect(readFileSync(join(import.meta.dirname, 'catalogue.json'), 'utf8')).not.toMatch(/[0-9a-f]{64}/)
  })

  it('is fetched from a mirror that stands for every publisher', async () => {
    const catalogue = createCatalogue(join(dir, 'none'), 'http://127.0.0.1:8000/m')
    const { entries } = await catalogue.load()
    const debian = entries.find(({ id }) => id === 'debian-12-cloud')
    if (debian === undefined) throw new Error('no Debian')
    const at = 'http://127.0.0.1:8000/m/cloud.debian.org/images/cloud/bookworm/latest/'
    expect(catalogue.plan(debian)).toMatchObject({
      urls: [`${at}debian-12-generic-amd64.qcow2`],
      lists: [`${at}SHA512SUMS`],
      file: 'debian-12-generic-amd64.qcow2',
    })
  })
})

describe('the operator’s catalogue', () => {
  const load = async (text: string) => {
    writeFileSync(join(dir, 'own.yaml'), text)
    return createCatalogue(join(dir, 'own.yaml'), null).load()
  }

  it('adds entries and replaces ours by id, in YAML and JSON', async () => {
    const before = await createCatalogue(join(dir, 'none'), null).load()
    const added = await load(JSON.stringify([own, { ...own, id: 'virtio-win' }]))
    expect(added.problems).toEqual([])
    expect(added.entries).toHaveLength(before.entries.length + 1)
    expect(added.entries.filter((e) => e.own).map(({ id }) => id)).toEqual(['lab', 'virtio-win'])
    expect(added.entries.find(({ id }) => id === 'lab')?.directories).toEqual(['http://mirror.lab/isos/'])
    const yaml = `- id: y\n  name: Y\n  os: y\n  guest: bsd\n  kind: disk\n  directories: [http://m/]\n  file: y.img\n  memoryMiB: 64\n  diskGiB: 1\n`
    expect((await load(yaml)).entries.at(-1)).toMatchObject({ id: 'y', own: true, list: null })
  })

  it('with mistakes loses only the entries at fault, and each is told', async () => {
    const wrong = [
      { ...own, id: 'Bad Id' },
      { ...own, directories: ['file:///etc/'] },
      { ...own, directories: ['http://user:pw@h/'] },
      { ...own, file: '../../etc/passwd' },
      { ...own, file: undefined },
      { ...own, pattern: 'x' },
      { ...own, file: undefined, pattern: '(a+)+b' },
      { ...own, file: undefined, pattern: 'x', list: null },
      { ...own, checksum: 'abc' },
      { ...own, memoryMiB: '1 GB' },
      { ...own, surprise: 1 },
      'text',
      own,
      own,
    ]
    const { entries, problems } = await load(JSON.stringify(wrong))
    expect(entries.filter((e) => e.own).map(({ id }) => id)).toEqual(['lab'])
    expect(problems).toHaveLength(wrong.length - 1)
    expect(problems[0]).toMatch(/^Entry 1 is left out\. id: /)
  })

  it('that cannot be read at all leaves ours', async () => {
    for (const text of ['a: [', '- &a [*a, *a]', 'just text', '{"a": 1}']) {
      const { entries, problems } = await load(text)
      expect(problems, text).toHaveLength(1)
      expect(entries.length, text).toBeGreaterThan(10)
    }
  })

  it('is read again when it changes', async () => {
    const file = join(dir, 'own.yaml')
    const catalogue = createCatalogue(file, null)
    expect((await catalogue.load()).entries.some((e) => e.own)).toBe(false)
    writeFileSync(file, JSON.stringify([own]))
    expect((await catalogue.load()).entries.some((e) => e.own)).toBe(true)
    rmSync(file)
    expect((await catalogue.load()).entries.some((e) => e.own)).toBe(false)
  })
})
