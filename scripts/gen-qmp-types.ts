/**
 * Generates server/qmp/generated/*.ts from captured `query-qmp-schema` answers.
 *
 *   npm run gen:qmp                                   writes the types
 *   npm run gen:qmp -- --check                        fails when they are not up to date
 *   npm run gen:qmp -- --capture BINARY --as 7.2      asks a QEMU first: schema and capabilities fixture
 *
 * A capture keeps only what the commands and events listed here reach, so that it stays small; the list of all command
 * and event names of a version is in the capabilities fixtures.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { QmpSchema, type SchemaEntity } from '#server/capabilities/schema-index.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const CAPTURES = join(ROOT, 'server/qmp/__fixtures__')
const CAPABILITIES = join(ROOT, 'server/capabilities/__fixtures__')
const GENERATED = join(ROOT, 'server/qmp/generated')

/** Commands the product executes. */
export const COMMANDS = [
  'balloon',
  'blockdev-change-medium',
  'chardev-add',
  'chardev-remove',
  'cont',
  'device-list-properties',
  'display-reload',
  'eject',
  'input-send-event',
  'job-dismiss',
  'netdev_add',
  'qmp_capabilities',
  'qom-get',
  'qom-list',
  'qom-list-types',
  'qom-set',
  'query-accelerators',
  'query-balloon',
  'query-block',
  'query-blockstats',
  'query-chardev',
  'query-command-line-options',
  'query-cpu-definitions',
  'query-cpu-model-expansion',
  'query-cpus-fast',
  'query-jobs',
  'query-kvm',
  'query-machines',
  'query-memory-size-summary',
  'query-name',
  'query-qmp-schema',
  'query-status',
  'query-uuid',
  'query-version',
  'query-vnc-servers',
  'quit',
  'screendump',
  'send-key',
  'set_link',
  'stop',
  'system_powerdown',
  'system_reset',
] as const

/** Events the product reads. */
export const EVENTS = [
  'BALLOON_CHANGE',
  'BLOCK_IO_ERROR',
  'DEVICE_DELETED',
  'DEVICE_TRAY_MOVED',
  'GUEST_CRASHLOADED',
  'GUEST_PANICKED',
  'JOB_STATUS_CHANGE',
  'MEMORY_FAILURE',
  'POWERDOWN',
  'RESET',
  'RESUME',
  'RTC_CHANGE',
  'SHUTDOWN',
  'STOP',
  'SUSPEND',
  'VNC_CONNECTED',
  'VNC_DISCONNECTED',
  'VNC_INITIALIZED',
  'VSERPORT_CHANGE',
  'WAKEUP',
  'WATCHDOG',
] as const

/** Commands whose arguments are too wide to be worth types: only their schema is kept, for the capabilities tests. */
const SCHEMA_ONLY = new Set(['chardev-add', 'netdev_add', 'display-reload'])

export interface Capture {
  /** `major.minor`. */
  readonly version: string
  readonly schema: readonly SchemaEntity[]
}

/** The listed commands and events with every type they reach, in the order QEMU gave them. */
export function reduceSchema(schema: readonly SchemaEntity[]): SchemaEntity[] {
  const byName = new Map(schema.map((entity) => [entity.name, entity]))
  const kept = new Set<string>()
  const open: string[] = [...COMMANDS, ...EVENTS]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const entity = byName.get(name)
    if (entity === undefined || kept.has(name)) continue
    kept.add(name)
    open.push(...references(entity))
  }
  return schema.filter((entity) => kept.has(entity.name))
}

function references(entity: SchemaEntity): string[] {
  switch (entity['meta-type']) {
    case 'command':
      return [entity['arg-type'], entity['ret-type']]
    case 'event':
      return [entity['arg-type']]
    case 'array':
      return [entity['element-type']]
    case 'object':
      return [...entity.members.map((m) => m.type), ...(entity.variants ?? []).map((v) => v.type)]
    case 'alternate':
      return entity.members.map((m) => m.type)
    default:
      return []
  }
}

export function readCaptures(): Capture[] {
  return readdirSync(CAPTURES)
    .filter((name) => name.startsWith('schema-') && name.endsWith('.json'))
    .map((name) => ({
      version: name.slice('schema-'.length, -'.json'.length),
      schema: QmpSchema.parse(JSON.parse(readFileSync(join(CAPTURES, name), 'utf8'))),
    }))
    .sort((a, b) => a.version.localeCompare(b.version, 'en', { numeric: true }))
}

/** One version's type reached at the same place as its siblings in other versions; null where that version has no such place. */
type Place = readonly (SchemaEntity | null)[]

class Generator {
  readonly #versions: readonly string[]
  readonly #indexes: readonly ReadonlyMap<string, SchemaEntity>[]

  constructor(captures: readonly Capture[]) {
    this.#versions = captures.map((capture) => capture.version)
    this.#indexes = captures.map((capture) => new Map(capture.schema.map((entity) => [entity.name, entity])))
  }

  commands(): string {
    const entries = COMMANDS.filter((name) => !SCHEMA_ONLY.has(name)).map((name) => {
      const place = this.#top(name, 'command')
      const args = this.#type(
        this.#follow(place, (e) => (e['meta-type'] === 'command' ? e['arg-type'] : null)),
        2,
        [],
      )
      const returns = this.#type(
        this.#follow(place, (e) => (e['meta-type'] === 'command' ? e['ret-type'] : null)),
        2,
        [],
      )
      return `${this.#note(place, 1)}  ${quote(name)}: {\n    arguments: ${args}\n    returns: ${returns}\n  }`
    })
    return `${HEADER}import type { QmpInt, QmpJson } from '../json.ts'\n\nexport interface QmpCommands {\n${entries.join('\n')}\n}\n`
  }

  events(): string {
    const entries = EVENTS.map((name) => {
      const place = this.#top(name, 'event')
      const payload = this.#type(
        this.#follow(place, (e) => (e['meta-type'] === 'event' ? e['arg-type'] : null)),
        1,
        [],
      )
      return `${this.#note(place, 1)}  ${name}: ${payload}`
    })
    return `${HEADER}import type { QmpInt, QmpJson } from '../json.ts'\n\nexport interface QmpEvents {\n${entries.join('\n')}\n}\n`
  }

  #top(name: string, metaType: 'command' | 'event'): Place {
    const place = this.#indexes.map((index) => index.get(name) ?? null)
    if (!place.some((entity) => entity?.['meta-type'] === metaType))
      throw new Error(`No capture has the ${metaType} ${name}`)
    return place
  }

  #follow(place: Place, pick: (entity: SchemaEntity) => string | null | undefined): Place {
    return place.map((entity, i) => {
      const name = entity === null ? null : pick(entity)
      return name === null || name === undefined ? null : (this.#indexes[i]?.get(name) ?? null)
    })
  }

  /** @param path entities being rendered above this one: a type that contains itself ends as QmpJson */
  #type(place: Place, depth: number, path: readonly SchemaEntity[]): string {
    const found = place.filter((entity) => entity !== null)
    const kinds = new Set(found.map((entity) => entity['meta-type']))
    const first = found[0]
    if (first === undefined || kinds.size !== 1) return 'QmpJson'
    if (found.some((entity) => path.includes(entity)) || depth > 12) return 'QmpJson'
    const inside = [...path, ...found]
    switch (first['meta-type']) {
      case 'builtin':
        return found.every((e) => e['meta-type'] === 'builtin' && e['json-type'] === first['json-type'])
          ? (BUILTIN[first['json-type']] ?? 'QmpJson')
          : 'QmpJson'
      case 'enum':
        return unique(found.flatMap((e) => (e['meta-type'] === 'enum' ? e.values : [])))
          .map((v) => `'${v}'`)
          .join(' | ')
      case 'array': {
        const element = this.#type(
          this.#follow(place, (e) => (e['meta-type'] === 'array' ? e['element-type'] : null)),
          depth,
          inside,
        )
        return /^[A-Za-z]+$/.test(element) ? `${element}[]` : `Array<${element}>`
      }
      case 'alternate': {
        // Alternatives have no names to pair them by over versions; their kinds do.
        const kindsOf = place.map((entity, i) =>
          entity?.['meta-type'] === 'alternate' ? entity.members.map((m) => this.#indexes[i]?.get(m.type) ?? null) : [],
        )
        const width = Math.max(...kindsOf.map((list) => list.length))
        const parts = Array.from({ length: width }, (_, n) =>
          this.#type(
            kindsOf.map((list) => list[n] ?? null),
            depth,
            inside,
          ),
        )
        return unique(parts).join(' | ')
      }
      case 'object':
        return this.#object(place, depth, inside)
      default:
        return 'QmpJson'
    }
  }

  #object(place: Place, depth: number, path: readonly SchemaEntity[]): string {
    const base = this.#members(place, depth, path, null)
    const cases = unique(
      place.flatMap((e) => (e?.['meta-type'] === 'object' ? (e.variants ?? []).map((v) => v.case) : [])),
    )
    const tag = place.map((e) => (e?.['meta-type'] === 'object' ? e.tag : undefined)).find((name) => name !== undefined)
    if (cases.length === 0 || tag === undefined) return base === '' ? EMPTY : `{\n${base}${indent(depth)}}`
    const variants = cases.map((value) => {
      const variant = this.#follow(place, (e) =>
        e['meta-type'] === 'object' ? e.variants?.find((v) => v.case === value)?.type : null,
      )
      const own = this.#members(place, depth + 1, path, tag)
      const extra = this.#members(variant, depth + 1, [...path, ...variant.filter((e) => e !== null)], tag)
      return `\n${indent(depth)}| {\n${indent(depth + 1)}${quote(tag)}: '${value}'\n${own}${extra}${indent(depth)}  }`
    })
    return variants.join('')
  }

  #members(place: Place, depth: number, path: readonly SchemaEntity[], except: string | null): string {
    const objects = place.map((entity) => (entity?.['meta-type'] === 'object' ? entity : null))
    const names = unique(objects.flatMap((object) => object?.members.map((member) => member.name) ?? []))
    return names
      .filter((name) => name !== except)
      .map((name) => {
        const member = objects.map((object) => object?.members.find((m) => m.name === name) ?? null)
        // A version that has the object but not the member makes it optional, like a default does.
        const isOptional = objects.some(
          (object, i) => object !== null && (member[i] === null || member[i]?.default === null),
        )
        const target = member.map((m, i) =>
          m === null || m === undefined ? null : (this.#indexes[i]?.get(m.type) ?? null),
        )
        const note = objects.some((object, i) => object !== null && member[i] === null)
          ? `${indent(depth + 1)}/** QEMU ${this.#versions.filter((_, i) => member[i] !== null).join(', ')} only. */\n`
          : ''
        const type = this.#type(target, depth + 1, path)
        return `${note}${indent(depth + 1)}${quote(name)}${isOptional ? '?' : ''}: ${type}${isOptional ? ' | undefined' : ''}\n`
      })
      .join('')
  }

  #note(place: Place, depth: number): string {
    if (place.every((entity) => entity !== null)) return ''
    return `${indent(depth)}/** QEMU ${this.#versions.filter((_, i) => place[i] !== null).join(', ')} only. */\n`
  }
}

const HEADER = '// Generated by scripts/gen-qmp-types.ts from server/qmp/__fixtures__. Do not edit: npm run gen:qmp\n'
const EMPTY = '{ [key: string]: never }'
const BUILTIN: { readonly [jsonType: string]: string } = {
  string: 'string',
  int: 'QmpInt',
  number: 'number',
  boolean: 'boolean',
  null: 'null',
  value: 'QmpJson',
}

const indent = (depth: number) => '  '.repeat(depth)
const quote = (name: string) => (/^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`)
const unique = <T>(values: readonly T[]): T[] => [...new Set(values)]

/** A union starts on a line of its own, after a member's name and a space. */
const trimEnds = (text: string) => text.replaceAll(/ +$/gm, '')

/** File name → content. */
export function generate(captures: readonly Capture[]): ReadonlyMap<string, string> {
  const generator = new Generator(captures)
  return new Map([
    ['commands.ts', trimEnds(generator.commands())],
    ['events.ts', trimEnds(generator.events())],
  ])
}

async function capture(binary: string, version: string): Promise<void> {
  const { askQemu } = await import('#server/capabilities/ask.ts')
  const { assembleCapabilities } = await import('#server/capabilities/assemble.ts')
  const answers = await askQemu({ binary, user: null, kvmOpens: false })
  const schema = reduceSchema(QmpSchema.parse(answers.schema))
  writeFileSync(join(CAPTURES, `schema-${version}.json`), `[\n${schema.map((e) => JSON.stringify(e)).join(',\n')}\n]\n`)
  const capabilities: QemuCapabilities = {
    ...assembleCapabilities('/usr/bin/qemu-system-x86_64', { ...answers, dataDirsHelp: '' }),
    ...DEBIAN_HOST,
  }
  writeFileSync(join(CAPABILITIES, `qemu-${version}.json`), `${formatCapabilities(capabilities)}\n`)
}

/** What lies on a host is no fact about the binary; the fixtures speak of a Debian host with everything installed. */
const DEBIAN_HOST = {
  dataDirs: ['/usr/share/qemu', '/usr/share/seabios', '/usr/lib/ipxe/qemu'],
  uefi: { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', vars: '/usr/share/OVMF/OVMF_VARS_4M.fd', format: 'raw' },
  secureBoot: {
    code: '/usr/share/OVMF/OVMF_CODE_4M.ms.fd',
    vars: '/usr/share/OVMF/OVMF_VARS_4M.ms.fd',
    format: 'raw',
    enrolledKeys: true,
    needsSmm: true,
  },
  microvmFirmware: { bios: '/usr/share/qemu/bios-microvm.bin', qboot: '/usr/share/qemu/qboot.rom' },
  tools: {
    swtpm: { path: '/usr/bin/swtpm', version: '0.7.1' },
    swtpmSetup: { path: '/usr/bin/swtpm_setup', version: '0.7.1' },
    virtiofsd: { path: '/usr/lib/qemu/virtiofsd', version: '7.2.22', dialect: 'c' },
    ip: { path: '/usr/sbin/ip', version: '6.1.0' },
    tc: { path: '/usr/sbin/tc', version: '6.1.0' },
    taskset: { path: '/usr/bin/taskset', version: '2.38.1' },
  },
  virtioWinIso: null,
} as const satisfies Partial<QemuCapabilities>

/** One line for what holds nothing deeper: it halves the file and keeps differences readable. */
function formatCapabilities(capabilities: QemuCapabilities): string {
  const innermost = /[{[][^{}[\]]*[}\]]/g
  return JSON.stringify(capabilities, null, 1).replace(innermost, (text) => text.replace(/\n\s*/g, ' '))
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { check: { type: 'boolean' }, capture: { type: 'string' }, as: { type: 'string' } },
  })
  if (values.capture !== undefined && values.as !== undefined) await capture(values.capture, values.as)
  const stale: string[] = []
  for (const [name, text] of generate(readCaptures())) {
    const path = join(GENERATED, name)
    if (values.check === true) {
      if (readFileSync(path, 'utf8') !== text) stale.push(name)
    } else {
      writeFileSync(path, text)
    }
  }
  if (stale.length > 0) console.error(`Not up to date: ${stale.join(', ')}. Run: npm run gen:qmp`)
  return stale.length === 0 ? 0 : 1
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main()
}
