import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { QmpSchema, SchemaIndex } from './schema-index.ts'

function schemaOf(version: string): SchemaIndex {
  const file = new URL(`../qmp/__fixtures__/schema-${version}.json`, import.meta.url)
  return new SchemaIndex(QmpSchema.parse(JSON.parse(readFileSync(file, 'utf8'))))
}

describe('what differs between versions is read from the schema', () => {
  test.each([
    ['7.2', { accelerators: false, reconnect: true, reconnectMs: false }],
    ['10.0', { accelerators: false, reconnect: true, reconnectMs: true }],
    ['11.1', { accelerators: true, reconnect: false, reconnectMs: true }],
  ])('QEMU %s', (version, expected) => {
    const schema = schemaOf(version)
    expect({
      accelerators: schema.hasCommand('query-accelerators'),
      reconnect: schema.hasArgument('chardev-add', 'backend', '=socket', 'data', 'reconnect'),
      reconnectMs: schema.hasArgument('chardev-add', 'backend', '=socket', 'data', 'reconnect-ms'),
    }).toEqual(expected)
  })

  test('a union is entered by case, an enumeration gives its values', () => {
    const schema = schemaOf('7.2')
    expect(schema.hasArgument('netdev_add', '=stream', 'addr')).toBe(true)
    expect(schema.hasArgument('netdev_add', '=passt')).toBe(false)
    expect(schema.argumentValues('screendump', 'format')).toEqual(['ppm', 'png'])
  })

  test('what is not there is no error', () => {
    const schema = schemaOf('7.2')
    expect(schema.hasArgument('no-such-command', 'x')).toBe(false)
    expect(schema.hasArgument('screendump', 'filename', 'x')).toBe(false)
    expect(schema.argumentValues('screendump', 'filename')).toEqual([])
  })
})
