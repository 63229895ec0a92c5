/** How virt-sysprep is asked, and what it answers. Pure. */
import { CLEAN_UPS, type CleanUpInput, type CleanUpName } from '#lib/schema/clone.ts'
import { EngineError } from '#server/engine/errors.ts'

/**
 * Run by the guest itself at its first start: nothing of a guest's is ever run here. Several systems (Debian and its
 * kin) make no host keys by themselves, and then nobody could sign in.
 */
const NEW_KEYS =
  'ssh-keygen -A; if command -v systemctl >/dev/null; then systemctl try-restart ssh.service sshd.service; fi'

/** @param sockets of the disks, in the order the guest has them */
export function sysprepArgs(
  sockets: readonly string[],
  { operations }: CleanUpInput,
  hostName: string | null,
): string[] {
  return [
    // What is lent is blocks: no header of an image is looked for.
    '--format',
    'raw',
    ...sockets.flatMap((socket) => ['-a', `nbd:///?socket=${socket}`]),
    '--no-network',
    '--operations',
    // The last brings a fresh random seed, and what is asked for below.
    [...CLEAN_UPS.filter((name) => operations.includes(name)), 'customize'].join(),
    ...(hostName === null ? [] : ['--hostname', hostName]),
    ...(operations.includes('ssh-hostkeys') ? ['--firstboot-command', NEW_KEYS] : []),
    // What was written anew has no label yet; a guest without SELinux is left alone.
    '--selinux-relabel',
  ]
}

const WORDS: Readonly<Record<CleanUpName, string>> = {
  'machine-id': 'machine ID',
  'ssh-hostkeys': 'SSH host keys',
  'dhcp-client-state': 'DHCP leases',
  'net-hwaddr': 'fixed network addresses',
  'udev-persistent-net': 'names of network cards',
  logfiles: 'logs',
  'bash-history': 'shell history',
  'tmp-files': 'temporary files',
  'mail-spool': 'mail',
  'ssh-userdir': 'SSH directories',
  'package-manager-cache': 'package cache',
  'rh-subscription-manager': 'subscription',
  'lvm-uuids': 'LVM',
}
const PERFORMING = /^\[ *\d+\.\d\] Performing "([a-z-]+)"/
const SETTING: readonly (readonly [RegExp, string])[] = [
  [/^\[ *\d+\.\d\] Setting a random seed/, 'random seed'],
  [/^\[ *\d+\.\d\] Setting the hostname/, 'host name'],
  [/^\[ *\d+\.\d\] SELinux relabelling/, 'SELinux labels'],
]

/** @returns words of ours for the last thing it says it does; null: it says nothing that is known */
export function stepOf(text: string): string | null {
  let words: string | null = null
  for (const line of text.split('\n')) {
    const name = CLEAN_UPS.find((one) => one === PERFORMING.exec(line)?.[1])
    if (name !== undefined) words = WORDS[name]
    for (const [pattern, found] of SETTING) if (pattern.test(line)) words = found
  }
  return words
}

/** What it said is partly the guest's: the log gets it, the sentence does not. */
export function failureOf(
  result: { readonly exitCode: number | null; readonly signal: NodeJS.Signals | null; readonly stderr: string },
  deadlineMs: number,
): EngineError {
  const { exitCode, signal, stderr } = result
  const cause = new Error(`virt-sysprep: exit ${exitCode ?? signal}: ${stderr.trim().slice(-2000)}`)
  const because = (code: 'unreadable' | 'no_space' | 'internal', message: string) =>
    new EngineError(code, message, { cause })
  if (/passphrase|[Kk]eys? .*(LUKS|encrypted)|cryptsetup|no key was provided/.test(stderr))
    return because(
      'unreadable',
      'Its disks are encrypted, so nothing in them can be cleaned up from outside. Clone it without the clean-up, and do that inside the guest.',
    )
  if (/no operating systems? (were|was) found|no root device found/i.test(stderr))
    return because(
      'unreadable',
      'No operating system was found on its disks: they are empty, encrypted, or hold one that libguestfs does not know. Clone it without the clean-up.',
    )
  if (/multi-?boot operating systems? (are|is) not supported/i.test(stderr))
    return because(
      'unreadable',
      'Several operating systems were found on its disks, and which of them is meant cannot be told. Clone it without the clean-up.',
    )
  if (/hibernated|was not cleanly unmounted|filesystem was mounted read-only|Read-only file system/i.test(stderr))
    return because(
      'unreadable',
      'A file system on its disks may not be written: the guest sleeps (hibernation) or was cut off. Start it, shut it down, then clone it.',
    )
  if (/No space left on device/.test(stderr))
    return because(
      'no_space',
      'A file system inside the guest is full, so nothing could be changed in it. Make room there.',
    )
  if (exitCode === null)
    return because(
      'internal',
      `The clean-up took longer than ${Math.round(deadlineMs / 60_000)} minutes and was ended.`,
    )
  return because('internal', 'The clean-up failed; the server’s log has virt-sysprep’s own message.')
}
