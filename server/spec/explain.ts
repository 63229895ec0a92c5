/** The plan as the API shows it. */
import type { CommandOption } from '#lib/schema/command-line.ts'
import type { LaunchPlan, PlannedOption } from './types.ts'

/** Neither a path nor an argument can hold a NUL, so it separates without ambiguity. */
const key = (option: PlannedOption) => option.argv.join('\0')

function mark(options: readonly PlannedOption[], running: readonly PlannedOption[] | null): CommandOption[] {
  // A multiset: an option given twice is unchanged only as often as it ran.
  const left = new Map<string, number>()
  for (const option of running ?? []) left.set(key(option), (left.get(key(option)) ?? 0) + 1)
  return options.map((option) => {
    const count = left.get(key(option)) ?? 0
    if (count > 0) left.set(key(option), count - 1)
    return { ...option, argv: [...option.argv], changed: running !== null && count === 0 }
  })
}

/** QEMU's options of `next`, each marked when the running QEMU was not started with it. Nothing runs: no marks. */
export function markChanges(next: LaunchPlan, running: LaunchPlan | null): CommandOption[] {
  return mark(next.options, running?.options ?? null)
}

/** The same for the wrapper programs. */
export function markWrapperChanges(next: LaunchPlan, running: LaunchPlan | null): CommandOption[] {
  return mark(next.wrapper, running?.wrapper ?? null)
}
