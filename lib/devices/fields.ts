/** The fields of a definition, read from the schema itself. For the documentation and the tests of the catalogue. */
import type * as z from 'zod'

export interface SpecField {
  /** Dotted, `[]` for the elements of a list; a list of scalars is one field. */
  readonly path: string
  /** Values of an enumeration or a literal; null for anything else. */
  readonly values: readonly string[] | null
  readonly nullable: boolean
  readonly schema: z.ZodType
}

type Def = { readonly type: string } & { readonly [key: string]: unknown }

/** Every leaf of the schema. Records and unions of scalars are leaves; members of a union of objects each have theirs. */
export function fieldsOf(schema: z.ZodType, path = '', nullable = false): SpecField[] {
  const def = schema._zod.def as unknown as Def
  const inner = (key: string) => def[key] as z.ZodType
  const leaf = (values: readonly string[] | null): SpecField[] => [{ path, values, nullable, schema }]
  switch (def.type) {
    case 'nullable':
      return fieldsOf(inner('innerType'), path, true)
    case 'optional':
      return fieldsOf(inner('innerType'), path, nullable)
    case 'array': {
      const element = fieldsOf(inner('element'), `${path}[]`)
      return element.length === 1 && element[0]?.path === `${path}[]` ? leaf(null) : element
    }
    case 'object':
      return Object.entries(def.shape as Record<string, z.ZodType>).flatMap(([name, field]) =>
        fieldsOf(field, path === '' ? name : `${path}.${name}`),
      )
    case 'union': {
      const options = def.options as readonly z.ZodType[]
      return options.every((option) => option._zod.def.type === 'object')
        ? options.flatMap((option) => fieldsOf(option, path))
        : leaf(null)
    }
    case 'enum':
      return leaf(Object.keys(def.entries as object))
    case 'literal':
      return leaf((def.values as readonly unknown[]).map(String))
    default:
      return leaf(null)
  }
}
