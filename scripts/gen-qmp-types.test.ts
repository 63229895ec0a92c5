import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { COMMANDS, EVENTS, generate, readCaptures, reduceSchema } from './gen-qmp-types.ts'

describe('the generated QMP types', () => {
  test('are up to date with the captured schemas', () => {
    for (const [name, text] of generate(readCaptures())) {
      expect(readFileSync(new URL(`../server/qmp/generated/${name}`, import.meta.url), 'utf8')).toBe(text)
    }
  })

  test('cover QEMU 7.2, 10.0 and 11.1, each with every command and event it knows', () => {
    const captures = readCaptures()
    expect(captures.map((capture) => capture.version)).toEqual(['7.2', '10.0', '11.1'])
    for (const { schema, version } of captures) {
      const names = new Set(schema.map((entity) => entity.name))
      const absent = [...COMMANDS, ...EVENTS].filter((name) => !names.has(name))
      expect(absent).toEqual(version === '11.1' ? [] : ['query-accelerators'])
    }
  })

  test('note what only some versions know', () => {
    const text = generate(readCaptures()).get('commands.ts') ?? ''
    expect(text).toMatch(/QEMU 11\.1 only\. \*\/\n {2}'query-accelerators'/)
    expect(text).toMatch(/QEMU 7\.2 only\. \*\/\n {6}singlestep\?: boolean/)
  })

  test('a capture is closed: no type in it points outside', () => {
    for (const { schema } of readCaptures()) expect(reduceSchema(schema)).toEqual(schema)
  })
})
