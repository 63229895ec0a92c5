/** What is worth saying about network cards before a start. */
import type { CompileInput } from '../types.ts'

/** What QEMU's user network carries without cutting packets up (libslirp, IF_MTU_DEFAULT). */
const USER_MTU = 1500

export function networkWarnings({ spec, host }: CompileInput): string[] {
  const warnings: string[] = []
  if (spec.networks.some((card) => card.network === 'user' && !card.restrict)) {
    warnings.push(
      "On the user network the guest also reaches services that listen on the host's loopback address (as 10.0.2.2). Turn on “restrict” for a guest that must not.",
    )
  }
  for (const card of spec.networks) {
    if (card.vhost && !host.vhostNet)
      warnings.push(
        `/dev/vhost-net is missing on the host or closed to QEMU's user, so that packets of ${card.id} go through QEMU, which costs more CPU time. Load the kernel module vhost_net.`,
      )
    if (card.network === 'user' && card.mtu !== null && card.mtu > USER_MTU)
      warnings.push(`The user network carries ${USER_MTU} bytes a packet; a larger MTU of ${card.id} may lose packets.`)
  }
  if (
    spec.guest === 'windows' &&
    spec.networks.some((card) => card.model === 'virtio-net') &&
    !spec.disks.some((drive) => drive.bus === 'virtio-blk' || drive.bus === 'virtio-scsi')
  )
    warnings.push('Windows has no driver for virtio-net: install it from the virtio-win ISO, or choose e1000e.')
  return warnings
}
