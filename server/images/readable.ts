/** Whether a guest's QEMU, running under a uid of its own, could open a file. */
import { spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { TOOL_ENV } from '#server/storage/sandbox.ts'

/**
 * Asks the kernel, as such a user: permission bits alone do not tell (ACLs, network file systems).
 * @param readersGid null: guests share our user, so our own access decides
 * @param setpriv path of setpriv; null: our own access decides
 */
export async function canGuestsRead(path: string, readersGid: number | null, setpriv: string | null): Promise<boolean> {
  if (readersGid === null || setpriv === null) {
    return access(path, constants.R_OK).then(
      () => true,
      () => false,
    )
  }
  // The first id of the range is the readers’ group; no VM has it as its uid.
  const uid = String(readersGid)
  const args = [
    `--reuid=${uid}`,
    `--regid=${uid}`,
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ]
  return new Promise((resolve) => {
    const child = spawn(setpriv, [...args, '--', '/usr/bin/test', '-r', path], {
      stdio: 'ignore',
      cwd: '/',
      env: TOOL_ENV,
      timeout: 10_000,
      killSignal: 'SIGKILL',
    })
    child.once('error', () => resolve(false))
    child.once('close', (code) => resolve(code === 0))
  })
}
