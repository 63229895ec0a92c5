/**
 * `query-qmp-schema` made searchable (docs/devel/qapi-code-gen.rst, "Client JSON Protocol introspection").
 * Type names in it are numbers that differ from build to build; only commands, events and members have meaning.
 */
import * as z from 'zod'

const Member = z.object({ name: z.string(), type: z.string(), default: z.null().optional() })

const Entity = z.discriminatedUnion('meta-type', [
  z.object({ 'meta-type': z.literal('builtin'), name: z.string(), 'json-type': z.string() }),
  z.object({
    'meta-type': z.literal('enum'),
    name: z.string(),
    members: z.array(z.object({ name: z.string() })).optional(),
    /** Before QEMU 6.2 `members` did not exist; still sent for compatibility. */
    values: z.array(z.string()),
  }),
  z.object({ 'meta-type': z.literal('array'), name: z.string(), 'element-type': z.string() }),
  z.object({
    'meta-type': z.literal('object'),
    name: z.string(),
    members: z.array(Member),
    tag: z.string().optional(),
    variants: z.array(z.object({ case: z.string(), type: z.string() })).optional(),
  }),
  z.object({ 'meta-type': z.literal('alternate'), name: z.string(), members: z.array(z.object({ type: z.string() })) }),
  z.object({
    'meta-type': z.literal('command'),
    name: z.string(),
    'arg-type': z.string(),
    'ret-type': z.string(),
    features: z.array(z.string()).optional(),
  }),
  z.object({ 'meta-type': z.literal('event'), name: z.string(), 'arg-type': z.string() }),
])

export const QmpSchema = z.array(Entity)
export type SchemaEntity = z.output<typeof Entity>

export class SchemaIndex {
  readonly #byName = new Map<string, SchemaEntity>()

  constructor(schema: readonly SchemaEntity[]) {
    for (const entity of schema) this.#byName.set(entity.name, entity)
  }

  entity(name: string): SchemaEntity | null {
    return this.#byName.get(name) ?? null
  }

  /** Sorted. */
  names(metaType: 'command' | 'event'): string[] {
    return [...this.#byName.values()]
      .filter((entity) => entity['meta-type'] === metaType)
      .map((e) => e.name)
      .sort()
  }

  hasCommand(name: string): boolean {
    return this.entity(name)?.['meta-type'] === 'command'
  }

  /**
   * Whether a command knows an argument. `path` walks from the command's arguments by member name;
   * `=case` steps into a variant of the union one is in: `argument('chardev-add', 'backend', '=socket', 'data', 'addr')`.
   */
  hasArgument(command: string, ...path: readonly string[]): boolean {
    return this.#walk(command, path) !== null
  }

  /** Values of an enumeration reached like in `hasArgument`; empty when there is no such argument or it is none. */
  argumentValues(command: string, ...path: readonly string[]): readonly string[] {
    return this.#values(this.#walk(command, path))
  }

  /** Values of an enumeration in what a command answers; `path` as in `hasArgument`. */
  returnValues(command: string, ...path: readonly string[]): readonly string[] {
    const start = this.entity(command)
    return start?.['meta-type'] === 'command' ? this.#values(this.#step(start['ret-type'], path)) : []
  }

  #walk(command: string, path: readonly string[]): string | null {
    const start = this.entity(command)
    return start?.['meta-type'] === 'command' ? this.#step(start['arg-type'], path) : null
  }

  #values(type: string | null): readonly string[] {
    const entity = type === null ? null : this.entity(type)
    return entity?.['meta-type'] === 'enum' ? entity.values : []
  }

  #step(start: string, path: readonly string[]): string | null {
    let type = start
    for (const step of path) {
      const entity = this.entity(type)
      if (entity?.['meta-type'] !== 'object') return null
      const next = step.startsWith('=')
        ? entity.variants?.find((variant) => variant.case === step.slice(1))
        : entity.members.find((member) => member.name === step)
      if (next === undefined) return null
      type = next.type
    }
    return type
  }
}
