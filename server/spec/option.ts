/** Builders of single options. Everything that reaches argv goes through here. */
import type { PlannedOption } from './types.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

type Origin = PlannedOption['origin']

export interface Explained {
  readonly group: string
  readonly what: string
  readonly why: string
  readonly origin: Origin
  /** JSON pointer of the spec field that changes it; left out when no field does. */
  readonly field?: string
}

/**
 * QEMU's own option parser ends a value at a comma and reads a doubled one as a comma
 * (QEMU docs, "Invocation", and `util/keyval.c`). Only for options that refuse JSON.
 */
export const escapeCommas = (value: string): string => value.replaceAll(',', ',,')

/** An option with its values as they are, for example `-uuid`, `X`. */
export function option(argv: readonly string[], about: Explained): PlannedOption {
  return {
    argv: [...argv],
    group: about.group,
    what: about.what,
    why: about.why,
    origin: about.origin,
    field: about.field ?? null,
  }
}

/** `-device`, `-blockdev`, `-netdev` and `-object` take JSON: no value in it can become another option. */
export function jsonOption(
  flag: '-device' | '-blockdev' | '-netdev' | '-object',
  value: { readonly [key: string]: Json },
  about: Explained,
): PlannedOption {
  return option([flag, JSON.stringify(value)], about)
}

/** `-chardev socket` listening on a unix socket; QEMU 7.2 to current refuse JSON here, so commas are doubled. */
export function socketChardev(id: string, path: string, about: Explained): PlannedOption {
  return option(['-chardev', `socket,id=${id},path=${escapeCommas(path)},server=on,wait=off`], about)
}

/** `1 port`, `2 ports`. */
export const plural = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`
