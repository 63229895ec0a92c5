/** Things worth saying before a start, as sentences for the operator. */
import type { CompileInput } from './types.ts'
import { machineWarnings } from './warnings/machine.ts'

export function planWarnings(input: CompileInput): string[] {
  const { spec, capabilities, accelerator, tools, user } = input
  const warnings: string[] = []
  if (accelerator.kind === 'tcg') {
    warnings.push(
      'Runs on TCG, which translates every instruction: expect a tenth of the speed or less.',
      'TCG gives no isolation guarantee: run only guests you trust, or rely on the unprivileged user and the sandbox around QEMU.',
    )
  }
  if (spec.networks.some((card) => card.network === 'user' && !card.restrict)) {
    warnings.push(
      "On the user network the guest also reaches services that listen on the host's loopback address (as 10.0.2.2). Turn on “restrict” for a guest that must not.",
    )
  }
  const drives = spec.disks
  if (drives.length > 0 && !drives.some((drive) => drive.device === 'disk'))
    warnings.push('Without a disk the guest keeps nothing after it is switched off.')
  if (spec.display === 'none' && !spec.serial)
    warnings.push('With neither display nor serial console nothing of the guest can be seen here.')
  else if (spec.display === 'none')
    warnings.push('Without a display only what the guest sends to its serial port can be seen.')
  if (spec.display !== 'none' && !spec.usbInput)
    warnings.push("Without the USB tablet the guest's pointer drifts away from the browser's.")
  if (spec.guest === 'windows' && (drives.some((drive) => drive.device === 'disk') || spec.networks.length > 0))
    warnings.push(
      'Windows has no virtio drivers of its own: attach the virtio-win ISO as a second CD and load the drivers while installing.',
    )
  warnings.push(...machineWarnings(input))
  if (!capabilities.seccomp)
    warnings.push(
      'This QEMU was built without seccomp: it runs without the sandbox that confines a guest that breaks out.',
    )
  if (user === null && tools.setpriv === null)
    warnings.push('setpriv (package util-linux) is missing, so QEMU may gain privileges through set-uid programs.')
  return warnings
}
