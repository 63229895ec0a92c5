/** Which ways of setting up a first start can work with what is booted. Pure. */
import type { Image } from '../schema/image.ts'
import type { SeedKind } from '../schema/seed.ts'
import type { GuestKind } from '../schema/vm-spec.ts'

/** Installers by the system they install; os-release ids. */
const BY_OS: Readonly<Record<string, readonly SeedKind[]>> = {
  debian: ['preseed'],
  kali: ['preseed'],
  // Before 20.04 its installer was Debian's.
  ubuntu: ['autoinstall', 'preseed'],
  fedora: ['kickstart'],
  rhel: ['kickstart'],
  centos: ['kickstart'],
  rocky: ['kickstart'],
  almalinux: ['kickstart'],
  ol: ['kickstart'],
  windows: ['windows'],
}
const LINUX_INSTALLERS: readonly SeedKind[] = ['autoinstall', 'preseed', 'kickstart']

/**
 * A disk brings cloud-init, a disc an installer; which one is known when somebody looked inside.
 * @param guest chosen or guessed @returns the likeliest first; empty: none can work
 */
export function seedKindsFor({
  boot,
  guest,
}: {
  readonly boot: Pick<Image, 'kind' | 'os' | 'cloudInit'> | null | undefined
  readonly guest: GuestKind | undefined
}): readonly SeedKind[] {
  // A system without cloud-init would never read the seed.
  if (boot?.kind === 'disk') return boot.cloudInit === false && boot.os !== null ? [] : ['nocloud']
  const known = boot?.os == null ? undefined : BY_OS[boot.os.id]
  if (known !== undefined) return known.includes('windows') ? known : [...known, 'nocloud']
  if (guest === 'windows') return ['windows']
  return guest === 'linux' ? [...LINUX_INSTALLERS, 'nocloud'] : [...LINUX_INSTALLERS, 'windows']
}
