/** Commands of a live change, with the time their kind may take: opening a file waits for the storage behind it. */

import { commandTimeoutMs } from '#server/qmp/timeouts.ts'
import type { QmpJson } from '#server/qmp/types.ts'
import type { Guest } from '../guest.ts'

/** @throws QmpError; the signal's reason */
export async function ask(
  guest: Guest,
  command: string,
  args?: { readonly [key: string]: QmpJson | undefined },
  signal?: AbortSignal,
): Promise<QmpJson> {
  return await guest.ask(command, args === undefined ? undefined : { ...args }, {
    timeoutMs: commandTimeoutMs(command),
    ...(signal && { signal }),
  })
}
