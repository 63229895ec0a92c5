/** The contract as an OpenAPI 3.1 document. Deterministic: `openapi.json` is committed and compared. */
import * as z from 'zod'
import { API_BASE, EVENTS_PATH, type Operation, operations } from '#lib/api/contract.ts'
import { ApiErrorBody, ERROR_STATUS, type ErrorCode } from '#lib/schema/error.ts'

type Json = { [key: string]: unknown }

const EVERYWHERE: readonly ErrorCode[] = [
  'bad_input',
  'unknown_field',
  'misdirected',
  'rate_limited',
  'internal',
  'busy',
]

/** JSON schema with shared parts moved to `components`; `input` and `output` differ where there are defaults. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', components: Json): Json {
  const result = z.toJSONSchema(schema, { io, target: 'draft-2020-12', unrepresentable: 'any' }) as Json
  const { $defs, $schema: _dialect, ...own } = result
  const suffix = io === 'input' ? 'Input' : ''
  const rename = (name: string) => (suffix !== '' && !name.endsWith(suffix) ? `${name}${suffix}` : name)
  const rewrite = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(rewrite)
    if (typeof node !== 'object' || node === null) return node
    return Object.fromEntries(
      Object.entries(node)
        // The name of a shared part is its key; inside it would claim to be a base URI.
        .filter(([key, value]) => !((key === 'id' || key === '$id') && typeof value === 'string'))
        .map(([key, value]) => {
          if (key === '$ref' && typeof value === 'string') {
            return [
              key,
              value.replace(/^#\/\$defs\/(.+)$/, (_all, name: string) => `#/components/schemas/${rename(name)}`),
            ]
          }
          return [key, rewrite(value)]
        }),
    )
  }
  for (const [name, def] of Object.entries(($defs ?? {}) as Json)) components[rename(name)] = rewrite(def)
  const { id } = own
  if (typeof id === 'string') {
    components[rename(id)] = rewrite(own)
    return { $ref: `#/components/schemas/${rename(id)}` }
  }
  return rewrite(own) as Json
}

function parametersOf(schema: z.ZodObject | undefined, place: 'path' | 'query', components: Json): Json[] {
  return Object.entries(schema?.shape ?? {}).map(([name, field]) => ({
    name,
    in: place,
    required: place === 'path' || !(field as z.ZodType).safeParse(undefined).success,
    schema: schemaOf(field as z.ZodType, 'input', components),
  }))
}

function errorCodes(operation: Operation): ErrorCode[] {
  const codes = new Set<ErrorCode>([...EVERYWHERE, ...(operation.errors ?? [])])
  if (operation.privilege !== 'public') codes.add('unauthenticated').add('forbidden')
  if (operation.params) codes.add('not_found')
  if (operation.method !== 'GET') codes.add('bad_origin').add('unsupported_media_type').add('too_large')
  if (operation.revisioned) codes.add('stale_revision')
  return [...codes].sort()
}

function operationObject(id: string, operation: Operation, components: Json): Json {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of errorCodes(operation)) {
    byStatus.set(ERROR_STATUS[code], [...(byStatus.get(ERROR_STATUS[code]) ?? []), code])
  }
  const status = operation.status ?? (operation.response || operation.raw ? 200 : 204)
  const content = operation.raw
    ? { [operation.raw]: {} }
    : operation.response
      ? { 'application/json': { schema: schemaOf(operation.response, 'output', components) } }
      : undefined
  const body = operation.stream
    ? { [operation.stream]: {} }
    : operation.body
      ? { 'application/json': { schema: schemaOf(operation.body, 'input', components) } }
      : undefined
  const parameters = [
    ...parametersOf(operation.params, 'path', components),
    ...parametersOf(operation.query, 'query', components),
    ...(operation.revisioned
      ? [{ name: 'If-Match', in: 'header', required: false, schema: { type: 'string', pattern: '^"[0-9]+"$' } }]
      : []),
  ]
  return {
    operationId: id,
    summary: operation.summary,
    tags: [operation.path.split('/')[1] ?? ''],
    'x-privilege': operation.privilege,
    security: operation.privilege === 'public' ? [] : [{ cookie: [] }, { bearer: [] }],
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: operation.stream !== undefined || operation.body !== undefined, content: body },
    }),
    responses: {
      [status]: { description: 'Done', ...(content && { content }) },
      ...Object.fromEntries(
        [...byStatus]
          .sort(([a], [b]) => a - b)
          .map(([code, codes]) => [code, { description: codes.join(', '), content: ERROR_CONTENT }]),
      ),
    },
  }
}

const ERROR_CONTENT = { 'application/json': { schema: { $ref: '#/components/schemas/ApiError' } } }

export function openApiDocument(): Json {
  const components: Json = {}
  schemaOf(ApiErrorBody, 'output', components)
  const paths: { [path: string]: Json } = {}
  for (const [id, operation] of Object.entries(operations as Record<string, Operation>)) {
    const path = API_BASE + operation.path.replace(/:([a-zA-Z]+)/g, '{$1}')
    const item = paths[path] ?? {}
    item[operation.method.toLowerCase()] = operationObject(id, operation, components)
    paths[path] = item
  }
  return JSON.parse(
    JSON.stringify({
      openapi: '3.1.0',
      info: {
        title: 'Guestdeck',
        version: '1',
        description: `Events arrive on the WebSocket ${EVENTS_PATH}, consoles on the path a console ticket names.`,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      paths,
      components: {
        schemas: Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1))),
        securitySchemes: {
          cookie: { type: 'apiKey', in: 'cookie', name: '__Host-guestdeck' },
          bearer: { type: 'http', scheme: 'bearer' },
        },
      },
    }),
  )
}

export const openApiText = (): string => `${JSON.stringify(openApiDocument(), null, 2)}\n`
