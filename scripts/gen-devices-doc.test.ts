import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FAMILIES, type FamilyId, familyOf } from '#lib/devices/catalogue.ts'
import { fieldsOf } from '#lib/devices/fields.ts'
import { VmSpec } from '#lib/schema/vm-spec.ts'
import { ABSENT, EVIDENCE, type Proof } from './devices-doc/evidence.ts'
import { liveOf } from './devices-doc/live.ts'
import { devicesDoc, proofsOf } from './gen-devices-doc.ts'

const ROOT = join(import.meta.dirname, '..')
const ids = Object.keys(FAMILIES) as FamilyId[]
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
/** As words: `none` is not in `nonetheless`. */
const speaksOf = (text: string, word: string) =>
  new RegExp(`(?<![a-z0-9])${word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![a-z0-9])`, 'i').test(text)

test('the committed docs/devices.md is that of the code', () => {
  expect(read('docs/devices.md')).toBe(devicesDoc())
})

test('every family has tests for all its choices, and for nothing else', () => {
  for (const id of ids) {
    const choices = Object.keys(familyOf(id).choices ?? { '*': null })
    for (const choice of choices) expect(proofsOf(id, choice), `${id}.${choice}`).not.toHaveLength(0)
    const unknown = Object.keys(EVIDENCE[id]).filter((choice) => choice !== '*' && !choices.includes(choice))
    expect(unknown, id).toEqual([])
  }
})

test('what is named as a test is one, by its title', () => {
  const all: Proof[] = [
    ...ids.flatMap((id) => Object.values(EVIDENCE[id]).flat()),
    ...ABSENT.flatMap(({ proofs }) => proofs),
  ]
  for (const { file, title, by } of all) {
    expect(existsSync(join(ROOT, file)), file).toBe(true)
    expect(read(file), `${file}: ${title}`).toContain(title)
    expect(file, `${file} boots nothing`).toMatch(by === 'guest' || by === 'qemu' ? /\.(int\.test|e2e)\.ts$/ : /./)
  }
})

test('a test that stands for a choice speaks of it: by its value, its device or its field', () => {
  const silent: string[] = []
  for (const id of ids) {
    const { choices, fields } = familyOf(id)
    const members = fields.map((path) => path.split('.').at(-1) ?? '')
    for (const [value, { kind, types }] of Object.entries(choices ?? {})) {
      const named = value === 'on' || value === 'named' || kind === 'none' ? members : [value]
      for (const { file } of proofsOf(id, value)) {
        const isGolden = file.endsWith('.json')
        const text = isGolden ? read(file) + compiled(file) : read(file)
        // A command line that does without a thing has no word for it: it has none of what there is to choose.
        const without = Object.values(choices ?? {}).flatMap((sibling) => sibling.types)
        const speaks =
          isGolden && kind === 'none'
            ? !without.some((type) => speaksOf(text, type))
            : [...named, ...types].some((word) => speaksOf(text, word))
        if (!speaks) silent.push(`${id}.${value}: ${file}`)
      }
    }
  }
  expect(silent).toEqual([])
})

const compiled = (file: string) => read(file.replace(/\.json$/, '.qemu-10.0.sh'))

test('devices are shown by a guest; by less only settings and what the hardware is absent for', () => {
  for (const id of ids) {
    for (const [value, { kind }] of Object.entries(familyOf(id).choices ?? {})) {
      if (kind !== 'paravirtual' && kind !== 'emulated') continue
      const witnesses = proofsOf(id, value).map(({ by }) => by)
      expect(witnesses.includes('guest') || witnesses.includes('refusal'), `${id}.${value}`).toBe(true)
    }
  }
})

test('what the catalogue says of running guests is what the rules of live changes do', () => {
  const fields = fieldsOf(VmSpec)
  for (const id of ids) {
    const family = familyOf(id)
    const kinds = family.fields.map((path) => {
      const field = fields.find((each) => each.path === path)
      if (field === undefined) throw new Error(path)
      return liveOf(field).kind
    })
    if (family.live === 'dashboard') expect(new Set(kinds), id).toEqual(new Set(['dashboard']))
    if (family.live === 'at-once') expect(kinds.includes('at-once') || kinds.includes('device'), id).toBe(true)
    if (family.live === 'next-start') expect(kinds, id).not.toContain('at-once')
  }
})
