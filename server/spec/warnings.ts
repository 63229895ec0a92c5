/** Things worth saying before a start, as sentences for the operator. */
import type { CompileInput } from './types.ts'
import { busWarnings } from './warnings/bus.ts'
import { driveWarnings } from './warnings/drives.ts'
import { machineWarnings } from './warnings/machine.ts'
import { networkWarnings } from './warnings/networks.ts'

export function planWarnings(input: CompileInput): string[] {
  const { spec, capabilities, accelerator, tools, user } = input
  const warnings: string[] = []
  if (accelerator.kind === 'tcg') {
    warnings.push(
      'Runs on TCG, which translates every instruction: expect a tenth of the speed or less.',
      'TCG gives no isolation guarantee: run only guests you trust, or rely on the unprivileged user and the sandbox around QEMU.',
    )
  }
  warnings.push(...networkWarnings(input))
  const drives = spec.disks
  if (drives.length > 0 && !drives.some((drive) => drive.device === 'disk'))
    warnings.push('Without a disk the guest keeps nothing after it is switched off.')
  if (spec.display === 'none' && !spec.serial)
    warnings.push('With neither display nor serial console nothing of the guest can be seen here.')
  else if (spec.display === 'none')
    warnings.push('Without a display only what the guest sends to its serial port can be seen.')
  if (spec.display !== 'none' && !spec.usbInput)
    warnings.push("Without the USB tablet the guest's pointer drifts away from the browser's.")
  warnings.push(...driveWarnings(input))
  warnings.push(...machineWarnings(input))
  warnings.push(...busWarnings(input))
  if (!capabilities.seccomp)
    warnings.push(
      'This QEMU was built without seccomp: it runs without the sandbox that confines a guest that breaks out.',
    )
  if (user === null && tools.setpriv === null)
    warnings.push('setpriv (package util-linux) is missing, so QEMU may gain privileges through set-uid programs.')
  return warnings
}
