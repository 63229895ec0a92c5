/** Names of packages per package manager, and the commands that install them. Pure. */
import type { OsRelease } from './inventory.ts'

export type PackageManager = 'apt' | 'dnf' | 'pacman' | 'zypper'

/** What Guestdeck can need from a distribution. */
export type Need =
  | 'qemu'
  | 'qemu-img'
  | 'ovmf'
  | 'seabios'
  | 'swtpm'
  | 'bubblewrap'
  | 'util-linux'
  | 'virtiofsd'
  | 'virtio-win'
  | 'iproute'
  | 'tc'
  | 'guestfs'

const FAMILIES: readonly (readonly [PackageManager, readonly string[]])[] = [
  ['apt', ['debian', 'ubuntu']],
  ['dnf', ['fedora', 'rhel', 'centos']],
  ['pacman', ['arch']],
  ['zypper', ['suse', 'opensuse', 'sles']],
]

const PACKAGES: { readonly [M in PackageManager]: { readonly [N in Need]: readonly string[] } } = {
  apt: {
    qemu: ['qemu-system-x86'],
    'qemu-img': ['qemu-utils'],
    ovmf: ['ovmf'],
    swtpm: ['swtpm', 'swtpm-tools'],
    bubblewrap: ['bubblewrap'],
    'util-linux': ['util-linux'],
    seabios: ['seabios'],
    // Up to Debian 12 it comes with QEMU, so that it is only missing where this package exists.
    virtiofsd: ['virtiofsd'],
    'virtio-win': [],
    iproute: ['iproute2'],
    tc: ['iproute2'],
    guestfs: ['guestfs-tools'],
  },
  dnf: {
    // RHEL and its kin have it under this name; on Fedora it is a package that draws in qemu-system-x86.
    qemu: ['qemu-kvm'],
    'qemu-img': ['qemu-img'],
    ovmf: ['edk2-ovmf'],
    swtpm: ['swtpm', 'swtpm-tools'],
    bubblewrap: ['bubblewrap'],
    'util-linux': ['util-linux'],
    seabios: ['seabios-bin'],
    virtiofsd: ['virtiofsd'],
    'virtio-win': ['virtio-win'],
    iproute: ['iproute'],
    tc: ['iproute-tc'],
    guestfs: ['guestfs-tools', 'perl-Sys-Guestfs'],
  },
  pacman: {
    qemu: ['qemu-system-x86'],
    'qemu-img': ['qemu-img'],
    ovmf: ['edk2-ovmf'],
    swtpm: ['swtpm'],
    bubblewrap: ['bubblewrap'],
    'util-linux': ['util-linux'],
    seabios: ['seabios'],
    virtiofsd: ['virtiofsd'],
    'virtio-win': [],
    iproute: ['iproute2'],
    tc: ['iproute2'],
    guestfs: ['guestfs-tools'],
  },
  zypper: {
    qemu: ['qemu-x86'],
    'qemu-img': ['qemu-img'],
    ovmf: ['qemu-ovmf-x86_64'],
    swtpm: ['swtpm'],
    bubblewrap: ['bubblewrap'],
    'util-linux': ['util-linux'],
    seabios: ['qemu-seabios'],
    virtiofsd: ['virtiofsd'],
    'virtio-win': [],
    iproute: ['iproute2'],
    tc: ['iproute2'],
    guestfs: ['guestfs-tools', 'perl-Sys-Guestfs'],
  },
}

const INSTALL: { readonly [M in PackageManager]: string } = {
  apt: 'apt-get install -y --no-install-recommends',
  dnf: 'dnf install -y',
  pacman: 'pacman -S --needed --noconfirm',
  zypper: 'zypper --non-interactive install --no-recommends',
}

/** Null for a distribution of none of the four families: then names would be guesses. */
export function packageManager(release: OsRelease): PackageManager | null {
  for (const id of [release.id, ...release.like]) {
    // openSUSE calls itself opensuse-leap, opensuse-tumbleweed and so on.
    const found = FAMILIES.find(([, ids]) => ids.some((known) => id === known || id.startsWith(`${known}-`)))
    if (found !== undefined) return found[0]
  }
  return null
}

export function packagesFor(manager: PackageManager | null, need: Need): readonly string[] {
  return manager === null ? [] : PACKAGES[manager][need]
}

/** One command for all of them, with sudo unless root; null when there is nothing to install or no known way to. */
export function installCommand(
  manager: PackageManager | null,
  packages: readonly string[],
  isRoot: boolean,
): string | null {
  const names = [...new Set(packages)]
  if (manager === null || names.length === 0) return null
  return `${isRoot ? '' : 'sudo '}${INSTALL[manager]} ${names.join(' ')}`
}
