import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { operations } from '#lib/api/contract.ts'
import { permissionsDoc } from './gen-permissions-doc.ts'

test('the committed docs/permissions.md is that of the code', () => {
  expect(readFileSync(join(import.meta.dirname, '../docs/permissions.md'), 'utf8')).toBe(permissionsDoc())
})

test('every operation has its line, and nobody who is not signed in is allowed what is not public', () => {
  const lines = permissionsDoc().split('\n')
  for (const [id, { privilege }] of Object.entries(operations)) {
    const cells = lines.find((line) => line.startsWith(`| \`${id}\` |`))?.split(' | ') ?? []
    expect(cells, id).toHaveLength(10)
    expect(cells[3], id).toBe(privilege === 'public' ? 'yes' : '401')
  }
})
