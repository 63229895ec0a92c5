/** What one step changes in the plan of the running machine. Pure. */
import type { LaunchPlan, PlannedCommand, PlannedOption } from '#server/spec/types.ts'
import { type PlugPart, plugPart } from './qmp-of-option.ts'

/** Neither a path nor an argument can hold a NUL. */
const optionKey = (option: PlannedOption): string => option.argv.join('\0')
const commandKey = (command: PlannedCommand): string => JSON.stringify([command.execute, command.arguments])

/** `list` without the elements of `gone`, each taken as often as it is in `gone`. */
function without<T>(list: readonly T[], gone: readonly T[], key: (element: T) => string): T[] {
  const left = new Map<string, number>()
  for (const element of gone) left.set(key(element), (left.get(key(element)) ?? 0) + 1)
  return list.filter((element) => {
    const count = left.get(key(element)) ?? 0
    if (count === 0) return true
    left.set(key(element), count - 1)
    return false
  })
}

/**
 * `now` with the step from `before` to `after` made. The three may differ otherwise, as when QEMU was upgraded since the
 * start: what the step does not touch stays as it was launched. What is added stands behind the neighbour it has in
 * `after`. @param mine what the step may touch
 */
function rebase<T>(
  now: readonly T[],
  before: readonly T[],
  after: readonly T[],
  key: (element: T) => string,
  mine: (element: T) => boolean,
): T[] {
  const result = without(now, without(before, after, key).filter(mine), key)
  const added = new Set(without(after, before, key).filter(mine))
  let last = -1
  for (const element of after) {
    if (added.has(element)) {
      last += 1
      result.splice(last, 0, element)
      continue
    }
    const at = result.findIndex((other) => key(other) === key(element))
    if (at >= 0) last = at
  }
  return result
}

/** The device a part belongs to: back ends have its id before a dot (`server/spec/ids.ts`). */
export const ownerOf = (id: string): string => id.split('.', 1)[0] ?? id

/** What the options of `deviceId` are to a running QEMU, in the order they are added. */
export function partsOf(options: readonly PlannedOption[], deviceId: string): PlugPart[] {
  return options.flatMap((option) => {
    const part = plugPart(option)
    return part !== null && ownerOf(part.id) === deviceId ? [part] : []
  })
}

/** Commands of `after` that `before` has not: the state of a cable, for one. */
export function addedCommands(before: LaunchPlan, after: LaunchPlan): PlannedCommand[] {
  return without(after.commands, before.commands, commandKey)
}

/** `now` as it is after a step. @param deviceId only what belongs to this device changes; null: all that differs */
export function withChange(
  now: LaunchPlan,
  before: LaunchPlan,
  after: LaunchPlan,
  deviceId: string | null,
): LaunchPlan {
  const mine = (option: PlannedOption): boolean => {
    if (deviceId === null) return true
    const part = plugPart(option)
    return part !== null && ownerOf(part.id) === deviceId
  }
  return {
    ...now,
    options: rebase(now.options, before.options, after.options, optionKey, mine),
    commands: rebase(now.commands, before.commands, after.commands, commandKey, () => true),
    ...(deviceId !== null && {
      taps: [...now.taps.filter((tap) => tap.card !== deviceId), ...after.taps.filter((tap) => tap.card === deviceId)],
      helpers: [
        ...now.helpers.filter((helper) => helper.id !== deviceId),
        ...after.helpers.filter((helper) => helper.id === deviceId),
      ],
    }),
  }
}
