import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { operations } from '#lib/api/contract.ts'
import { ERROR_STATUS } from '#lib/schema/error.ts'
import { openApiDocument, openApiText } from '#server/http/openapi.ts'

test('the committed openapi.json is that of the contract', () => {
  expect(readFileSync(join(import.meta.dirname, '../../openapi.json'), 'utf8')).toBe(openApiText())
})

test('every reference leads to a component', () => {
  const document = openApiDocument() as { components: { schemas: Record<string, unknown> } }
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? '')
  expect(references.length).toBeGreaterThan(50)
  for (const reference of references) {
    const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1]
    expect(Object.keys(document.components.schemas), reference).toContain(name)
  }
})

test('every operation is described once, with its success and its errors', () => {
  const { paths } = openApiDocument() as {
    paths: Record<string, Record<string, { operationId: string; responses: Record<string, { description: string }> }>>
  }
  const found = Object.values(paths).flatMap((item) => Object.values(item))
  expect(found.map(({ operationId }) => operationId).sort()).toEqual(Object.keys(operations).sort())
  for (const { responses } of found) {
    expect(Object.keys(responses).some((status) => status.startsWith('2'))).toBe(true)
    for (const [status, { description }] of Object.entries(responses)) {
      if (status.startsWith('2')) continue
      for (const code of description.split(', ')) {
        expect(ERROR_STATUS[code as keyof typeof ERROR_STATUS]).toBe(Number(status))
      }
    }
  }
})
