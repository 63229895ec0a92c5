/**
 * Every field of every operation, taken from the contract itself, with values nobody means well with, against a server
 * that runs: each gets a clear answer, the server goes on, guests keep running and files stay as they are.
 */
import { readdirSync, statSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { API_BASE, type Operation, operations } from '#lib/api/contract.ts'
import { ERROR_STATUS } from '#lib/schema/error.ts'
import { dir, isRunning, ready, server, token } from '#server/testing/process-rig.ts'

const LIMIT_MS = 240_000
const AT_ONCE = 6
const HUGE = 'x'.repeat(65_536)
/** As JSON text, because some of it no serialiser would write. */
const VALUES = [
  'null',
  'true',
  '0',
  '-1',
  '1.5',
  '1e999',
  '-1e308',
  '9007199254740993',
  '""',
  '"\\u0000"',
  '"a\\r\\nb\\u001b[2J"',
  '"\\ud800"',
  '"../../../etc/passwd"',
  '"a,file=/etc/shadow"',
  JSON.stringify(HUGE),
  '[]',
  '[null,[],{}]',
  '{}',
  '{"__proto__":{"polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  `${'['.repeat(500)}${']'.repeat(500)}`,
]
const STRINGS = [
  '',
  '\0',
  'a\r\nb',
  '\u{1f4a3}',
  '../../etc/passwd',
  '..',
  '__proto__',
  '1e999',
  '-1',
  HUGE.slice(0, 4000),
]

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type Path = readonly (string | number)[]

/** Where in a body something can be put: each value and each container. */
function* placesOf(value: Json, path: Path = []): Generator<Path> {
  yield path
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    yield* placesOf(inner, [...path, Array.isArray(value) ? Number(key) : key])
  }
}

/** The body as JSON text with `text` in place of what is at `path`. */
function withValue(value: Json, path: Path, text: string): string {
  const [head, ...rest] = path
  if (head === undefined) return text
  if (Array.isArray(value)) {
    return `[${value.map((inner, index) => (index === head ? withValue(inner, rest, text) : JSON.stringify(inner)))}]`
  }
  const entries = Object.entries(value as { [key: string]: Json })
  return `{${entries.map(
    ([key, inner]) => `${JSON.stringify(key)}:${key === head ? withValue(inner, rest, text) : JSON.stringify(inner)}`,
  )}}`
}

/** Names of all fields a schema knows, without the positions in lists. */
function fieldsOf(schema: z.ZodType): Set<string> {
  const found = new Set<string>()
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  const walk = (node: z.core.JSONSchema._JSONSchema | undefined, path: string): void => {
    if (typeof node !== 'object') return
    if (node.$ref !== undefined) walk(root.$defs?.[node.$ref.replace('#/$defs/', '')], path)
    for (const one of [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])]) walk(one, path)
    if (node.items !== undefined && !Array.isArray(node.items)) walk(node.items, path)
    for (const [key, inner] of Object.entries(node.properties ?? {})) {
      found.add(path + key)
      walk(inner, `${path}${key}.`)
    }
  }
  walk(root, '')
  return found
}

type Schema = z.core.JSONSchema._JSONSchema

/**
 * Bodies that name every field a schema knows between them: the n-th takes the n-th alternative wherever there are
 * several. Values are plausible, and need not be right: what is tried is put in their place.
 */
function* samplesOf(schema: z.ZodType): Generator<Json> {
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  const sample = (node: Schema | undefined, turn: number, depth: number): Json => {
    if (typeof node !== 'object' || depth > 12) return 'x'
    if (node.$ref !== undefined) return sample(root.$defs?.[node.$ref.replace('#/$defs/', '')], turn, depth + 1)
    if (node.const !== undefined) return node.const as Json
    if (node.enum !== undefined) return (node.enum[turn % node.enum.length] ?? null) as Json
    const alternatives = [...(node.anyOf ?? []), ...(node.oneOf ?? [])].filter(
      (one) => typeof one !== 'object' || one.type !== 'null',
    )
    if (alternatives.length > 0) return sample(alternatives[turn % alternatives.length], turn, depth + 1)
    if (node.type === 'array')
      return Array.isArray(node.items) || node.items === undefined
        ? []
        : [sample(node.items as Schema, turn, depth + 1)]
    if (node.type === 'object' || node.properties !== undefined)
      return Object.fromEntries(
        Object.entries(node.properties ?? {}).map(([key, inner]) => [key, sample(inner as Schema, turn, depth + 1)]),
      )
    if (node.type === 'integer' || node.type === 'number') return node.minimum ?? 1
    if (node.type === 'boolean') return false
    if (node.type === 'null') return null
    return node.format === 'date-time' ? '2026-01-01T00:00:00.000Z' : 'x'
  }
  for (let turn = 0; turn < 8; turn += 1) yield sample(root as Schema, turn, 0)
}

const fieldName = (path: Path) => path.filter((part) => typeof part === 'string').join('.')

/** What a plain definition leaves out: one of every device and every table. */
const EVERYTHING = (spec: { [key: string]: Json }): { [key: string]: Json } => {
  const [disk, ...drives] = spec.disks as { [key: string]: Json }[]
  const [card, ...cards] = spec.networks as { [key: string]: Json }[]
  const text = 'x'
  return {
    smbios: {
      manufacturer: text,
      product: text,
      version: text,
      serial: text,
      sku: text,
      family: text,
      oemStrings: [text],
    },
    directKernel: { kernel: '/boot/vmlinuz', initrd: '/boot/initrd', commandLine: 'quiet' },
    topology: { sockets: 1, cores: 1, threads: 1 },
    cpuFlags: [{ name: 'avx2', enabled: false }],
    pinning: [{ vcpu: 0, hostCpus: '0' }],
    numa: [{ cpus: '0', memoryMiB: 1024, hostNodes: '0' }],
    dimms: [{ id: 'dimm0', sizeMiB: 128 }],
    memoryMaxMiB: 4096,
    virtioMem: { sizeMiB: 512, requestedMiB: 0 },
    disks: [
      {
        ...disk,
        throttle: {
          bytesPerSecond: 1,
          readBytesPerSecond: 1,
          writeBytesPerSecond: 1,
          iops: 1,
          readIops: 1,
          writeIops: 1,
          bytesPerSecondMax: 1,
          iopsMax: 1,
          burstSeconds: 1,
        },
      },
      ...drives,
    ],
    networks: [
      { ...card, network: 'bridge', bridge: 'br0', forwards: [], rateLimit: { inKBps: 1, outKBps: 1 } },
      ...cards,
    ],
    displayResolution: { width: 1024, height: 768 },
    inputs: [{ id: 'input0', type: 'mouse', bus: 'usb', rootPort: null, port: 5 }],
    channels: [{ id: 'port0', device: 'virtserialport', name: text, backend: 'log', port: 5 }],
    vsock: { cid: 3 },
    watchdog: { model: 'i6300esb', action: 'reset' },
    shares: [{ id: 'share0', driver: '9p', tag: text, source: '/srv', readOnly: true, rootPort: 9 }],
    hostDevices: [
      { id: 'host0', type: 'usb-id', vendor: '1234', product: 'abcd', port: 6 },
      { id: 'host1', type: 'usb-port', hostBus: 1, hostPort: '1.1', port: 7 },
      { id: 'host2', type: 'pci', address: '0000:99:00.0', rootPort: 10 },
      { id: 'host3', type: 'mdev', uuid: '01234567-89ab-cdef-0123-456789abcdef', rootPort: 11 },
    ],
    properties: { disk0: { 'queue-size': 64 } },
    rawArgs: ['-d'],
  }
}

/**
 * Their fields go through the very schema of another operation, which is tried with every value; here each field gets
 * every third, in turn.
 */
const ALIKE = { vmPreview: 'vmCreate', vmChangePreview: 'vmUpdate' } as const

const MISSING_ID = '0190f000-0000-7000-8000-000000000000'

interface Attack {
  readonly what: string
  readonly method: string
  readonly path: string
  readonly body?: string
  readonly headers?: Record<string, string>
}

test('no value in any field of any operation breaks anything', { timeout: 300_000 }, async () => {
  const secret = await token()
  const running = server()
  const port = await ready(running)
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const ask = ({ method, path, body, headers }: Omit<Attack, 'what'>) => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const type = method === 'GET' ? {} : { 'content-type': 'application/json' }
    request(
      {
        host: '127.0.0.1',
        port,
        method,
        path: API_BASE + path,
        agent,
        headers: { authorization: `Bearer ${secret}`, ...type, ...length, ...headers },
      },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk) => {
          text += chunk
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
      },
    )
      .on('error', reject)
      .end(body)
    return promise
  }
  const make = async (input: object) => {
    const made = await ask({ method: 'POST', path: '/vms', body: JSON.stringify(input) })
    expect(made.status, made.text).toBe(201)
    return JSON.parse(made.text)
  }

  const guest = await make({ name: 'guest', memoryMiB: 64, accelerator: 'tcg', firmware: 'bios', disks: [] })
  const started = await ask({ method: 'POST', path: `/vms/${guest.id}/start` })
  const { pid } = JSON.parse(started.text).live
  const target = await make({
    name: 'target',
    description: 'a',
    tags: ['a'],
    accelerator: 'tcg',
    disks: [{ device: 'disk', sizeGiB: 1 }, { device: 'cdrom' }],
    networks: [{ forwards: [{ protocol: 'tcp', hostPort: 22_222, guestPort: 22 }] }],
  })
  const { spec } = target
  // Its own address and ports, so that what passes the schema meets the checks behind it too.
  const forwards = [{ protocol: 'tcp', hostPort: 22_223, guestPort: 22 }]
  const fresh = { ...spec, networks: [{ ...spec.networks[0], mac: '52:54:00:00:00:01', forwards }] }
  const everything = { ...fresh, ...EVERYTHING(spec) }
  /** For each operation with a body, some that name every field between them; a field is tried in the first that has it. */
  const bodies: Record<string, Json | Json[]> = {
    setupCreate: { code: 'AAAA-BBBB-CCCC', name: 'eve', password: 'correct horse' },
    sessionCreate: { name: 'ann', password: 'wrong horse' },
    passwordChange: { current: 'wrong horse', next: 'correct horse' },
    tokenCreate: { label: 'x', expiresInDays: 1 },
    userCreate: { name: 'ann', password: 'correct horse', role: 'viewer' },
    userUpdate: { role: 'viewer', password: 'correct horse', disabled: false },
    vmCreate: [
      { ...fresh, name: 'created' },
      { ...everything, name: 'created' },
    ],
    vmPreview: [
      { ...fresh, name: 'created' },
      { ...everything, name: 'created' },
    ],
    vmUpdate: [spec, everything],
    vmChangePreview: [spec, everything],
    vmConsoleTicketCreate: { kind: 'vnc', mode: 'view' },
    imageRegister: { path: '/nowhere/x.iso', name: 'x' },
    imageImport: { path: '/nowhere/x.vmdk', name: 'x' },
  }

  const attacks: Attack[] = []
  for (const [id, operation] of Object.entries(operations as Record<string, Operation>)) {
    const { method } = operation
    const param = operation.path.startsWith('/vms/') ? (operation.method === 'PATCH' ? target.id : guest.id) : target.id
    // Operations without a body of their own here are tried on things that do not exist: their fields are judged first.
    const isKnown = operation.body === undefined || bodies[id] !== undefined
    const path = operation.path
      .replace('/starters/:id', '/starters/nothing')
      .replace(':id', isKnown ? param : MISSING_ID)
      .replace(':type', 'e1000')
      .replace(/:\w+Id/, MISSING_ID)
    if (operation.body !== undefined) {
      const given = bodies[id]
      const bases = [
        ...(given === undefined ? [] : Array.isArray(given) ? given : [given]),
        ...samplesOf(operation.body),
      ]
      const named = new Set(bases.flatMap((base) => [...placesOf(base)].map(fieldName)))
      const known = fieldsOf(operation.body)
      expect(
        [...known].filter((field) => !named.has(field)),
        `fields of ${id} that are not tried`,
      ).toEqual([])
      const tried = new Set<string>()
      const isSameAs = ALIKE[id as keyof typeof ALIKE]
      if (isSameAs !== undefined) expect(operation.body).toBe(operations[isSameAs].body)
      for (const base of bases) {
        const places = [...placesOf(base)].filter((place) => !tried.has(fieldName(place)))
        for (const place of places) {
          tried.add(fieldName(place))
          for (const [turn, text] of VALUES.entries()) {
            if (isSameAs !== undefined && turn % 3 !== tried.size % 3) continue
            attacks.push({ what: `${id} ${place.join('.')}`, method, path, body: withValue(base, place, text) })
          }
        }
      }
    } else if (method !== 'GET' && operation.stream === undefined) {
      // None takes a body; one that comes is refused before anything is done.
      for (const body of ['{"force":true}', '[1]', '"x"', '7', '{"__proto__":{}}', '{', '\u0000']) {
        attacks.push({ what: `${id} body`, method, path, body })
      }
    }
    for (const name of [...Object.keys(operation.query?.shape ?? {}), 'unknown', '__proto__', 'limit[]']) {
      if (method !== 'GET' && operation.stream === undefined) break
      const type = operation.stream && { 'content-type': operation.stream }
      for (const text of STRINGS) {
        const query = `?${encodeURIComponent(name)}=${encodeURIComponent(text)}`
        // Twice the same, and a stray one, for uploads: only a name alone would be taken.
        const twice = `${query}&${encodeURIComponent(name)}=${encodeURIComponent(text)}`
        attacks.push({ what: `${id} ?${name}`, method, path: path + twice, ...(type && { headers: type }) })
        if (method === 'GET') attacks.push({ what: `${id} ?${name}`, method, path: path + query })
      }
    }
    const hole = /:\w+/.exec(operation.path)?.[0]
    if (hole !== undefined) {
      for (const text of STRINGS) {
        const hostile = operation.path.replace(hole, encodeURIComponent(text).replaceAll('.', '%2e'))
        attacks.push({ what: `${id} ${hole}`, method, path: hostile, ...(method !== 'GET' && { body: '{}' }) })
      }
    }
    if (operation.revisioned) {
      for (const value of ['3', '"-1"', '"1e999"', 'W/"1"', '"99999999999999999999"', `"${'9'.repeat(4000)}"`]) {
        attacks.push({ what: `${id} If-Match`, method, path, body: '{}', headers: { 'if-match': value } })
      }
    }
  }

  const files = () =>
    ['vms', 'images', 'uploads']
      .flatMap((part) =>
        readdirSync(join(dir, 'd', part), { recursive: true, encoding: 'utf8' }).map((f) => join(part, f)),
      )
      // The rule that every console is recorded is one of the operations, and "true" one of the values.
      .filter((file) => !file.includes('/recordings'))
      .sort()
      .map((file) => {
        const facts = statSync(join(dir, 'd', file))
        return [file, facts.mode, facts.uid, facts.isDirectory() ? 0 : facts.size]
      })
  try {
    const before = files()
    const startedMs = performance.now()
    const queue = attacks.values()
    const work = async () => {
      for (const attack of queue) {
        const { status, text } = await ask(attack)
        const about = `${attack.what} ${attack.path.slice(0, 100)} ${attack.body?.slice(0, 2000) ?? ''} → ${status} ${text.slice(0, 300)}`
        expect(status, about).not.toBe(500)
        if (status >= 400) {
          const { error } = JSON.parse(text)
          expect(ERROR_STATUS, about).toHaveProperty(error.code, status)
          expect(error.code, about).not.toBe('internal')
          expect(error.message.length, about).toBeGreaterThan(10)
          // What is wrong is said, not sent back in full.
          expect(text.length, about).toBeLessThan(4000)
          expect(text, about).not.toMatch(/\n\s+at |node:internal|received undefined/)
        } else if (attack.what.startsWith('vmCreate')) {
          const { id } = JSON.parse(text)
          expect((await ask({ method: 'DELETE', path: `/vms/${id}` })).status, about).toBe(204)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    const tookMs = performance.now() - startedMs
    expect(attacks.length).toBeGreaterThan(2000)
    expect(tookMs).toBeLessThan(LIMIT_MS)

    expect(running.child.exitCode).toBeNull()
    expect(running.err()).not.toMatch(/unhandled rejection/)
    const now = JSON.parse((await ask({ method: 'GET', path: `/vms/${guest.id}` })).text)
    expect(now).toMatchObject({ state: 'running', live: { pid }, spec: guest.spec })
    expect(files()).toEqual(before)
    expect((await ask({ method: 'POST', path: `/vms/${guest.id}/poweroff` })).status).toBe(200)
  } finally {
    agent.destroy()
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  }
})
