/** For tests: takes out of a definition what is refused, so that what is left is accepted. */
import { type VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from '#server/spec/compile.ts'
import { normalizeSpec } from '#server/spec/normalize.ts'
import { compileInput, factsFor } from '#server/spec/test-support.ts'
import type { CompileInput } from '#server/spec/types.ts'

/** Dotted fields at fault; none when the definition is accepted. */
export type Judge = (input: VmSpecInput) => readonly string[]

/** Takes out what is refused until nothing is; null when something is refused that the definition leaves out. */
export function mended(input: object, judge: Judge): VmSpecInput | null {
  let current: unknown = input
  // Every round takes something out.
  for (;;) {
    const parsed = VmSpecInput.parse(current)
    const fields = judge(parsed)
    if (fields.length === 0) return parsed
    const less = fields.map((field) => lessOf(current, field.split('.'))).find((found) => found !== null)
    if (less === undefined) return null
    current = less
  }
}

/** Without the innermost part of the path that is there and can be left out; null: without none of it. */
function lessOf(input: unknown, path: readonly string[]): object | null {
  for (let length = path.length; length > 0; length -= 1) {
    const copy: unknown = structuredClone(input)
    if (deleteAt(copy, path.slice(0, length)) && VmSpecInput.safeParse(copy).success) return copy as object
  }
  return null
}

function deleteAt(value: unknown, [head, ...rest]: readonly string[]): boolean {
  if (head === undefined || typeof value !== 'object' || value === null || !Object.hasOwn(value, head)) return false
  if (rest.length > 0) return deleteAt(Reflect.get(value, head), rest)
  if (Array.isArray(value)) value.splice(Number(head), 1)
  else Reflect.deleteProperty(value, head)
  return true
}

/** As `normalizeSpec` and the compiler judge, on the host that `inputFor` makes. */
export function compilerJudge(
  capabilities: QemuCapabilities,
  inputFor: (spec: VmSpec) => CompileInput = (spec) => compileInput(spec, capabilities),
): Judge {
  return (input) => {
    let spec: VmSpec
    try {
      spec = normalizeSpec(input, factsFor(capabilities))
    } catch (error) {
      if (error instanceof EngineError && error.field !== undefined) return [error.field]
      throw error
    }
    const result = compile(inputFor(spec))
    return result.ok ? [] : result.problems.map(({ field }) => field)
  }
}
