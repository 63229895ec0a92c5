/** Whether a guest's QEMU, running under a uid of its own, could open a file. */
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import { identityArgs, NO_CAPABILITIES } from '#server/platform/setpriv.ts'

/** The storage may be slow to answer. */
const LOOK_MS = 10_000

/**
 * Asks the kernel, as such a user: permission bits alone do not tell (ACLs, network file systems).
 * @returns null when setpriv is missing, and nobody can be asked
 */
export async function canGuestsRead(path: string, readersGid: number): Promise<boolean | null> {
  const setpriv = findExecutable('setpriv')
  if (setpriv === null) return null
  // The first id of the range is the readers’ group; no VM has it as its uid.
  const user = { uid: readersGid, gid: readersGid, groups: [] }
  const asUser = [...identityArgs(user), '--no-new-privs', ...NO_CAPABILITIES, '--']
  const result = await captureOutput(setpriv, [...asUser, '/usr/bin/test', '-r', path], { timeoutMs: LOOK_MS })
  return result?.code === 0
}
