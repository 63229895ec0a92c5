/** What a guest, or a tool that runs one, is given to run on. */
import { stat } from 'node:fs/promises'
import type { AcceleratorChoice } from '#lib/schema/vm-spec.ts'
import type { AcceleratorSource } from './deps.ts'

interface Decision {
  readonly kind: 'kvm' | 'tcg' | null
  readonly reason: string
  /** Group of /dev/kvm when the guest needs it to open the device. */
  readonly kvmGid: number | null
}

const KVM_DEVICE = '/dev/kvm'

/** The verdict was found as the dashboard's user; a guest's own user may have less access to the device. */
export async function decideFor(
  accelerator: Pick<AcceleratorSource, 'decide'>,
  choice: AcceleratorChoice,
  uid: number | null,
  path = KVM_DEVICE,
): Promise<Decision> {
  const decided = accelerator.decide(choice)
  if (decided.kind !== 'kvm' || uid === null) return { ...decided, kvmGid: null }
  const device = await stat(path).catch(() => null)
  const mode = device?.mode ?? 0
  if ((mode & 0o006) === 0o006) return { ...decided, kvmGid: null }
  // Never root's own group, whatever the device says.
  if (device !== null && device.gid !== 0 && (mode & 0o060) === 0o060) return { ...decided, kvmGid: device.gid }
  const why = `${KVM_DEVICE} lets only root in (mode ${(mode & 0o777).toString(8)}), and guests run as users of their own.`
  return choice === 'kvm'
    ? { kind: null, reason: `${why} Run: chmod 0660 ${KVM_DEVICE} && chgrp kvm ${KVM_DEVICE}`, kvmGid: null }
    : { kind: 'tcg', reason: `Software emulation: ${why}`, kvmGid: null }
}
