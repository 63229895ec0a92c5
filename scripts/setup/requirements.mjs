/**
 * What the machine must have, found by looking for the files and commands themselves: a package database cannot say
 * whether somebody built QEMU by hand, and a name in it does not prove that the file is there.
 */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** @typedef {'apt' | 'dnf' | 'pacman' | 'zypper'} Manager */
/**
 * @typedef {object} Requirement
 * @property {string} what what it is for, in a few words
 * @property {(env: NodeJS.ProcessEnv) => boolean} isPresent
 * @property {Record<Manager, string[]>} packages empty where the distribution ships nothing suitable
 */

/** @param {string} command @param {NodeJS.ProcessEnv} [env] @returns {string | null} its path, or null */
export function findCommand(command, env = process.env) {
  if (command.includes('/')) return isExecutable(command) ? command : null
  // A service manager or `su` may leave the administrator's directories out of PATH.
  const dirs = [...(env.PATH ?? '').split(delimiter), '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin']
  for (const dir of dirs) {
    if (dir !== '' && isExecutable(join(dir, command))) return join(dir, command)
  }
  return null
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const command =
  (...names) =>
  (env) =>
    names.every((name) => findCommand(name, env) !== null)
const anyFile =
  (...paths) =>
  () =>
    paths.some((path) => existsSync(path))
const all =
  (...checks) =>
  (env) =>
    checks.every((check) => check(env))

/** @type {Requirement[]} needed to run guests */
const RUN = [
  {
    what: 'QEMU system emulator',
    isPresent: (env) => {
      if (env.GUESTDECK_QEMU) return findCommand(env.GUESTDECK_QEMU, env) !== null
      return findCommand('qemu-system-x86_64', env) !== null
    },
    packages: {
      apt: ['qemu-system-x86'],
      dnf: ['qemu-system-x86-core', 'qemu-device-display-virtio-vga'],
      pacman: ['qemu-system-x86', 'qemu-hw-display-virtio-vga'],
      zypper: ['qemu-x86', 'qemu-hw-display-virtio-vga'],
    },
  },
  {
    what: 'qemu-img',
    isPresent: command('qemu-img', 'qemu-nbd'),
    packages: { apt: ['qemu-utils'], dnf: ['qemu-img'], pacman: ['qemu-img'], zypper: ['qemu-tools'] },
  },
  {
    what: 'UEFI firmware for guests',
    isPresent: anyFile(
      '/usr/share/OVMF/OVMF_CODE_4M.fd',
      '/usr/share/OVMF/OVMF_CODE.fd',
      '/usr/share/edk2/ovmf/OVMF_CODE.fd',
      '/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2',
      '/usr/share/edk2/x64/OVMF_CODE.4m.fd',
      '/usr/share/edk2-ovmf/x64/OVMF_CODE.fd',
      '/usr/share/qemu/ovmf-x86_64-code.bin',
    ),
    packages: { apt: ['ovmf'], dnf: ['edk2-ovmf'], pacman: ['edk2-ovmf'], zypper: ['qemu-ovmf-x86_64'] },
  },
  {
    what: 'TPM emulator',
    isPresent: command('swtpm', 'swtpm_setup'),
    packages: { apt: ['swtpm', 'swtpm-tools'], dnf: ['swtpm', 'swtpm-tools'], pacman: ['swtpm'], zypper: ['swtpm'] },
  },
  {
    what: 'sandbox for image tools',
    isPresent: command('bwrap'),
    packages: { apt: ['bubblewrap'], dnf: ['bubblewrap'], pacman: ['bubblewrap'], zypper: ['bubblewrap'] },
  },
  {
    what: 'xz and bzip2, for compressed images',
    isPresent: command('xz', 'bzip2'),
    packages: { apt: ['xz-utils', 'bzip2'], dnf: ['xz', 'bzip2'], pacman: ['xz', 'bzip2'], zypper: ['xz', 'bzip2'] },
  },
  {
    what: 'setpriv and prlimit',
    isPresent: command('setpriv', 'prlimit'),
    packages: {
      apt: ['util-linux'],
      dnf: ['util-linux', 'util-linux-core'],
      pacman: ['util-linux'],
      zypper: ['util-linux', 'util-linux-systemd'],
    },
  },
]

/** @type {Requirement[]} needed by the tests alone: a browser, and what small test guests are built from */
const TEST = [
  {
    what: 'Chromium for browser tests',
    isPresent: (env) => findBrowser(env) !== null,
    packages: { apt: ['chromium'], dnf: ['chromium'], pacman: ['chromium'], zypper: ['chromium'] },
  },
  {
    what: 'static busybox for test guests',
    isPresent: anyFile('/bin/busybox', '/usr/bin/busybox', '/sbin/busybox'),
    packages: { apt: ['busybox-static'], dnf: ['busybox'], pacman: ['busybox'], zypper: ['busybox-static'] },
  },
  {
    what: 'iproute2, for guests on bridges',
    isPresent: command('ip', 'tc'),
    packages: { apt: ['iproute2'], dnf: ['iproute', 'iproute-tc'], pacman: ['iproute2'], zypper: ['iproute2'] },
  },
  {
    // Only where libguestfs is installed as well; it is too large to ask for.
    what: 'mkfs.xfs, for disks to look into',
    isPresent: command('mkfs.xfs'),
    packages: { apt: ['xfsprogs'], dnf: ['xfsprogs'], pacman: ['xfsprogs'], zypper: ['xfsprogs'] },
  },
  {
    what: 'bindfs, for storage that hangs',
    isPresent: command('bindfs', 'fusermount'),
    packages: { apt: ['bindfs', 'fuse3'], dnf: ['bindfs', 'fuse'], pacman: ['bindfs'], zypper: ['bindfs'] },
  },
  {
    what: 'kernel module tools',
    isPresent: command('depmod', 'modprobe'),
    packages: { apt: ['kmod'], dnf: ['kmod'], pacman: ['kmod'], zypper: ['kmod'] },
  },
  {
    what: 'guest agent for test guests',
    isPresent: command('qemu-ga'),
    packages: {
      apt: ['qemu-guest-agent'],
      dnf: ['qemu-guest-agent'],
      pacman: ['qemu-guest-agent'],
      zypper: ['qemu-guest-agent'],
    },
  },
  {
    what: 'boot ISO tools',
    isPresent: all(
      command('xorriso', 'grub-mkrescue', 'mformat'),
      anyFile('/usr/lib/grub/i386-pc/moddep.lst', '/usr/share/grub2/i386-pc/moddep.lst'),
    ),
    packages: {
      apt: ['xorriso', 'grub-common', 'grub-pc-bin', 'grub-efi-amd64-bin', 'mtools'],
      dnf: ['xorriso', 'grub2-tools-extra', 'grub2-pc-modules', 'grub2-efi-x64-modules', 'mtools'],
      pacman: ['libisoburn', 'grub', 'mtools'],
      zypper: ['xorriso', 'grub2', 'grub2-i386-pc', 'grub2-x86_64-efi', 'mtools'],
    },
  },
  {
    what: 'Debian cloud image for tests',
    isPresent: command('mmdebstrap', 'mke2fs'),
    // Elsewhere the tests that need it are left out.
    packages: {
      apt: ['mmdebstrap', 'e2fsprogs'],
      dnf: ['mmdebstrap', 'e2fsprogs'],
      pacman: ['e2fsprogs'],
      zypper: ['e2fsprogs'],
    },
  },
  {
    what: 'LDAP server, for sign-in with a directory',
    isPresent: command('slapd', 'ldapmodify', 'openssl'),
    packages: {
      apt: ['slapd', 'ldap-utils', 'openssl'],
      dnf: ['openldap-servers', 'openldap-clients', 'openssl'],
      pacman: ['openldap', 'openssl'],
      zypper: ['openldap2', 'openldap2-client', 'openssl'],
    },
  },
  {
    what: 'Pebble, an ACME authority for tests',
    isPresent: command('pebble'),
    // Elsewhere the tests that need it are left out.
    packages: { apt: ['pebble'], dnf: [], pacman: [], zypper: [] },
  },
  {
    what: 'pamtester, for sign-in with accounts of the host',
    isPresent: command('pamtester'),
    packages: { apt: ['pamtester'], dnf: ['pamtester'], pacman: [], zypper: ['pamtester'] },
  },
  {
    what: 'memtest86+',
    isPresent: anyFile('/boot/memtest86+x64.bin', '/boot/memtest86+.bin', '/boot/memtest86+/memtest.bin'),
    packages: { apt: ['memtest86+'], dnf: ['memtest86+'], pacman: ['memtest86+'], zypper: ['memtest86+'] },
  },
]

/**
 * The bench gets its peers itself: without one it leaves rows out.
 * @param {string} command the npm script
 * @returns {Requirement[]}
 */
export function requirementsOf(command) {
  switch (command) {
    case 'check':
      return []
    case 'test':
    case 'e2e':
    case 'bench':
      return [...RUN, ...TEST]
    default:
      return RUN
  }
}

/** @param {NodeJS.ProcessEnv} env @returns {string | null} the browser of the end-to-end tests */
export function findBrowser(env = process.env) {
  if (env.GUESTDECK_CHROMIUM) return findCommand(env.GUESTDECK_CHROMIUM, env)
  return findCommand('chromium', env) ?? findCommand('chromium-browser', env)
}
