/** Things worth saying before a start, as sentences for the operator. */
import type { CompileInput } from './types.ts'

export function planWarnings({ spec, capabilities, accelerator, tools, user }: CompileInput): string[] {
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
  if (drives.length === 0) warnings.push('There is nothing to boot from: no disk and no CD drive.')
  else if (drives.every((drive) => drive.bootIndex === null))
    warnings.push('There is nothing to boot from: no drive has a boot position.')
  else if (drives.every((drive) => drive.device === 'cdrom' && drive.image === null))
    warnings.push('There is nothing to boot from: the CD drive is empty.')
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
  const machine = capabilities.machines.find((candidate) => candidate.name === spec.machine)
  if (machine?.deprecated === true)
    warnings.push(
      `The machine type ${spec.machine} is deprecated in QEMU ${capabilities.version} and will go in a later one.`,
    )
  const model = capabilities.cpuModels.find((candidate) => candidate.name === spec.cpuModel)
  if (model?.deprecated === true)
    warnings.push(`The CPU model ${model.name} is deprecated in QEMU ${capabilities.version}.`)
  if (accelerator.kind === 'kvm' && model !== undefined && model.unavailableFeatures.length > 0)
    warnings.push(
      `This host's CPU lacks what the model ${model.name} promises: ${model.unavailableFeatures.join(', ')}. The guest will see the model without them.`,
    )
  if (!capabilities.seccomp)
    warnings.push(
      'This QEMU was built without seccomp: it runs without the sandbox that confines a guest that breaks out.',
    )
  if (user === null && tools.setpriv === null)
    warnings.push('setpriv (package util-linux) is missing, so QEMU may gain privileges through set-uid programs.')
  return warnings
}
