/** Parses a JSON body and refuses the keys that mean something to JavaScript, and nesting nobody needs. */
import { EngineError } from '#server/engine/errors.ts'

const DEPTH_MAX = 32
const RESERVED: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** @throws EngineError bad_input, unknown_field */
export function parseJsonBody(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new EngineError('bad_input', 'The request body is not valid JSON.')
  }
  check(value, [])
  return value
}

function check(value: unknown, path: readonly string[]): void {
  if (typeof value !== 'object' || value === null) return
  if (path.length > DEPTH_MAX) throw new EngineError('bad_input', 'The request body is nested too deeply.')
  for (const key of Object.keys(value)) {
    const here = [...path, key]
    if (RESERVED.has(key)) {
      const field = here.join('.')
      throw new EngineError('unknown_field', `There is no field called ${JSON.stringify(field)}.`, { field })
    }
    check((value as Record<string, unknown>)[key], here)
  }
}
