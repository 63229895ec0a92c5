/** Worth knowing of screens, sound, folders, host devices and raw options before a start. */
import type { CompileInput } from '../types.ts'

export function busWarnings({ spec, user }: CompileInput): string[] {
  const warnings: string[] = []
  if (spec.displayHeads > 1)
    warnings.push(
      `The screen has ${spec.displayHeads} outputs; the browser shows the first. Use the others over SSH or RDP.`,
    )
  if (spec.display === 'virtio-gpu' && spec.firmware === 'bios')
    warnings.push('With BIOS firmware virtio-gpu stays dark until the guest loads its driver.')
  if (spec.display === 'ramfb' && spec.firmware === 'bios')
    warnings.push('Only UEFI firmware draws on ramfb; with BIOS the screen stays dark.')
  if (spec.display === 'bochs' && spec.firmware === 'bios')
    warnings.push('With BIOS firmware this card stays dark until the guest loads its driver.')
  if (spec.sound !== 'none') warnings.push('The guest has a sound card, but the browser does not play its sound yet.')
  const written = spec.shares.filter((share) => !share.readOnly)
  if (written.length > 0)
    warnings.push(
      `The guest may write to ${written.map((share) => `“${share.tag}”`).join(', ')}: what it puts there is as trustworthy as the guest, and fills the host's disk.`,
    )
  if (user !== null && spec.shares.some((share) => share.driver === 'virtiofs' && !share.readOnly))
    warnings.push(
      `Over virtiofs only root in the guest makes new files; on the host they belong to the VM's user ${user.uid}, who needs write access to the folder.`,
    )
  if (spec.hostDevices.some((device) => device.type === 'pci' || device.type === 'mdev'))
    warnings.push(
      'With a PCI device of the host all of the guest’s memory stays in RAM, and the guest cannot be moved or saved.',
    )
  if (spec.rawArgs.length > 0)
    warnings.push('Raw options are in use: what they do is not checked beyond staying in the guest.')
  return warnings
}
