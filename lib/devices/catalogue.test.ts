import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { VmSpec } from '../schema/vm-spec.ts'
import { FAMILIES, type Family, type FamilyId, familyOf } from './catalogue.ts'
import { fieldsOf } from './fields.ts'
import { familyWords } from './words.ts'

const leaves = fieldsOf(VmSpec)
const families = Object.entries(FAMILIES) as [FamilyId, Family][]

test('every field of the definition belongs to a family, and every family’s fields exist', () => {
  const known = new Set(families.flatMap(([, { fields }]) => fields))
  expect(leaves.length).toBeGreaterThan(100)
  expect(leaves.map(({ path }) => path).filter((path) => !known.has(path))).toEqual([])
  const paths = new Set(leaves.map(({ path }) => path))
  expect([...known].filter((path) => !paths.has(path))).toEqual([])
})

test('every member of every enumeration is a choice of a family, and every choice is a member', () => {
  const members = leaves.filter(({ values }) => values !== null)
  expect(members.length).toBeGreaterThan(25)
  for (const path of new Set(members.map((leaf) => leaf.path))) {
    const values = members.filter((leaf) => leaf.path === path).flatMap((leaf) => leaf.values ?? [])
    const choices = families.flatMap(([, { fields, choices }]) =>
      choices !== null && fields[0] === path ? Object.keys(choices) : [],
    )
    expect([...new Set(choices)].sort(), path).toEqual([...new Set(values)].sort())
  }
})

test('choices of what is no enumeration are switches, or the kinds of machines and CPU models', () => {
  const enumerated = new Set(leaves.flatMap(({ path, values }) => (values === null ? [] : [path])))
  for (const [id, { fields, choices }] of families) {
    if (choices === null || enumerated.has(fields[0] ?? '')) continue
    const expected = id === 'machine' ? ['microvm', 'pc', 'q35'] : id === 'cpuModel' ? ['auto', 'named'] : ['on']
    expect(Object.keys(choices).sort(), id).toEqual(expected)
  }
})

test('every family and choice has words; devices say what they need and cost, recommendations say why', () => {
  for (const [id, { choices }] of families) {
    const words = familyWords(id)
    expect(words.name, id).not.toBe('')
    expect(words.what, id).not.toBe('')
    expect(Object.keys(words.choices ?? {}).sort(), id).toEqual(Object.keys(choices ?? {}).sort())
    for (const [value, { kind, best }] of Object.entries(choices ?? {})) {
      const of = words.choices?.[value]
      expect(of?.name && of.what, `${id}.${value}`).toBeTruthy()
      if (kind === 'paravirtual' || kind === 'emulated' || kind === 'passthrough')
        expect(of?.needs && of.cost, `${id}.${value} needs and costs`).toBeTruthy()
      if (best.length > 0 && Object.keys(choices ?? {}).length > 1)
        expect(of?.why ?? of?.what, `${id}.${value} why`).toBeTruthy()
    }
  }
})

test('a family of devices recommends something for every kind of guest, and never two of one', () => {
  for (const id of ['diskBus', 'cdBus', 'cardModel', 'display', 'usbController', 'firmware', 'clock'] as const)
    for (const guest of ['linux', 'windows', 'bsd', 'other'] as const) {
      const best = Object.values(familyOf(id).choices ?? {}).filter((choice) => choice.best.includes(guest))
      expect(best.length, `${id} for ${guest}`).toBe(1)
    }
})

test.each(['7.2', '10.0', '11.1'])(
  'QEMU %s knows every type behind a choice, but for virtio-sound in 7.2',
  (version) => {
    const { types } = JSON.parse(
      readFileSync(new URL(`../../server/capabilities/__fixtures__/qemu-${version}.json`, import.meta.url), 'utf8'),
    ) as { types: string[] }
    const missing = families.flatMap(([, { choices }]) =>
      Object.values(choices ?? {}).flatMap((choice) => choice.types.filter((type) => !types.includes(type))),
    )
    expect([...new Set(missing)]).toEqual(version === '7.2' ? ['virtio-sound-pci'] : [])
  },
)
