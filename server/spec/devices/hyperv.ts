/** Hyper-V enlightenments (QEMU docs `system/i386/hyperv`): ways of KVM to save Windows exits from the guest. */
import type { CompileInput } from '../types.ts'

/**
 * Those every current Windows uses and every kernel with KVM since 5.x has, in an order where each comes after what it
 * needs. Left out: nested virtualization (evmcs), debugging (syndbg), and what binds the guest to one host
 * (reenlightenment, no-nonarch-coresharing).
 */
const ENLIGHTENMENTS = [
  ['hv-relaxed', 'on'],
  ['hv-vapic', 'on'],
  // Retries before the guest tells that it waits for a lock; what libvirt and Microsoft recommend.
  ['hv-spinlocks', '0x1fff'],
  ['hv-vpindex', 'on'],
  ['hv-runtime', 'on'],
  ['hv-time', 'on'],
  ['hv-synic', 'on'],
  ['hv-stimer', 'on'],
  ['hv-reset', 'on'],
  ['hv-frequencies', 'on'],
  ['hv-tlbflush', 'on'],
  ['hv-ipi', 'on'],
] as const

/** CPU properties for `-cpu`; none under TCG, which has no Hyper-V interface, and none this QEMU does not know. */
export function hypervProperties({
  spec,
  accelerator,
  capabilities,
}: Pick<CompileInput, 'spec' | 'accelerator' | 'capabilities'>): string[] {
  if (!spec.hyperv || accelerator.kind !== 'kvm') return []
  const known = new Set(capabilities.cpuProperties.map((property) => property.name))
  return ENLIGHTENMENTS.filter(([name]) => known.has(name)).map(([name, value]) => `${name}=${value}`)
}
