/** Worth saying before a definition is changed: what the system inside may stumble over at its next start. Pure. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf, versionOf } from '../bus.ts'

/** Sentences about the change from one complete definition to another; none when nothing of the kind changes. */
export function changeWarnings(before: VmSpec, after: VmSpec): string[] {
  return [...machineChange(before, after), ...firmwareChange(before, after), ...cpuChange(before, after)]
}

function machineChange(before: VmSpec, after: VmSpec): string[] {
  if (before.machine === after.machine) return []
  if (familyOf(before.machine) !== familyOf(after.machine))
    return [
      `${after.machine} is another mainboard: every device gets a new address. Network cards may change their names, Windows may ask for activation, and a system that was installed on the other may not start.`,
    ]
  return versionOf(after.machine) > versionOf(before.machine)
    ? [
        `The hardware of ${after.machine} differs from ${before.machine} in details. Systems take it at their next start; Windows may ask for activation.`,
      ]
    : [
        `${after.machine} is older than ${before.machine}. Going back is meant for a guest that does not start on the newer one.`,
      ]
}

function firmwareChange(before: VmSpec, after: VmSpec): string[] {
  const warnings: string[] = []
  if (before.firmware !== after.firmware)
    warnings.push(
      `A system that was installed with ${before.firmware.toUpperCase()} does not start with ${after.firmware.toUpperCase()}, unless its disk is prepared for both.`,
    )
  else if (before.secureBoot !== after.secureBoot)
    warnings.push(
      after.secureBoot
        ? 'Secure Boot takes effect when the UEFI variables are reset, which enrols the keys and forgets boot entries.'
        : 'Without Secure Boot any boot loader starts. Windows with BitLocker asks for its recovery key.',
    )
  if (before.tpm !== 'none' && after.tpm === 'none')
    warnings.push('Without its TPM the guest cannot open disks whose keys are bound to it (BitLocker, LUKS with TPM).')
  return warnings
}

function cpuChange(before: VmSpec, after: VmSpec): string[] {
  return before.cpuModel !== after.cpuModel && after.guest === 'windows'
    ? ['Windows may ask for activation when its CPU changes.']
    : []
}
