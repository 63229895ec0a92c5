/** Order and search of the options of a command line. Pure. */
import type { CommandLine, CommandOption } from '#lib/schema/command-line.ts'

export interface OptionGroup {
  /** `wrapper`, a part of the machine, or the id of a device. */
  readonly id: string
  readonly options: readonly CommandOption[]
}

/** What runs before QEMU first, then the groups in the order of the command line. */
export function groupOptions(line: Pick<CommandLine, 'wrapper' | 'options'>): OptionGroup[] {
  const groups = new Map<string, CommandOption[]>()
  if (line.wrapper.length > 0) groups.set('wrapper', [...line.wrapper])
  for (const option of line.options) {
    const known = groups.get(option.group)
    if (known === undefined) groups.set(option.group, [option])
    else known.push(option)
  }
  return [...groups].map(([id, options]) => ({ id, options }))
}

/** Every word of `query` occurs somewhere in the option, its group or its explanation. */
export function matches(option: CommandOption, query: string): boolean {
  const text = [...option.argv, option.group, option.what, option.why].join(' ').toLowerCase()
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word))
}

/**
 * Marks the options of `line` that `base` does not have. Addresses and ids that differ by chance are the caller's to
 * keep the same.
 */
export function markAgainst(line: CommandLine, base: CommandLine): CommandLine {
  const known = new Set([...base.wrapper, ...base.options].map((option) => option.argv.join('\0')))
  const mark = (option: CommandOption): CommandOption => ({ ...option, changed: !known.has(option.argv.join('\0')) })
  return { ...line, wrapper: line.wrapper.map(mark), options: line.options.map(mark) }
}

/** Options of `base` that `line` no longer has, in the order of `base`. */
export function goneFrom(line: CommandLine, base: CommandLine): CommandOption[] {
  const kept = new Set([...line.wrapper, ...line.options].map((option) => option.argv.join('\0')))
  return [...base.wrapper, ...base.options].filter((option) => !kept.has(option.argv.join('\0')))
}
