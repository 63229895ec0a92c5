/** bubblewrap around QEMU, where it has no user of its own: which files of the host it sees. Pure. */
import { option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'
import { flashFor } from './firmware.ts'

/** Programs, libraries and firmware; and what name resolution and local time of QEMU itself need. */
const SYSTEM = ['/usr', '/lib', '/lib64', '/lib32', '/bin', '/etc/ld.so.cache', '/etc/alternatives']
const SETTINGS = ['/etc/resolv.conf', '/etc/localtime']
const DEVICES = ['/dev/kvm', '/dev/net/tun', '/dev/vhost-net', '/dev/vhost-vsock']
/** With devices of the host: what libusb and VFIO look at. */
const HOST_DEVICES = ['/dev/bus/usb', '/dev/vfio', '/sys', '/run/udev']

const UNSHARE_NET = '--unshare-net'

export function confinementOptions(
  input: Pick<CompileInput, 'confinement' | 'spec' | 'paths' | 'drives' | 'capabilities'>,
): PlannedOption[] {
  const { confinement, spec, paths, drives, capabilities } = input
  if (!confinement) return []
  const chain = drives.flatMap((drive) => drive.chain)
  const flash = flashFor(spec, capabilities)
  const writable = [paths.dir, paths.data, ...confinement.writable, ...filesOf(chain, false)]
  const readable = [
    ...confinement.readable,
    ...prefixOf(capabilities.binary),
    ...(flash === null ? [] : [flash.code]),
    ...(spec.directKernel === null ? [] : [spec.directKernel.kernel, ...one(spec.directKernel.initrd)]),
    ...filesOf(chain, true),
  ]
  const devices = spec.hostDevices.length > 0 ? [...DEVICES, ...HOST_DEVICES] : DEVICES
  // A card may be plugged in later; a guest that was started without one has no network at all.
  const needsNetwork = spec.networks.length > 0
  return [
    option(
      [
        confinement.bwrap,
        ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
        ...(needsNetwork ? [] : [UNSHARE_NET]),
        ...['--cap-drop', 'ALL'],
        ...[...SYSTEM, ...SETTINGS].flatMap((path) => ['--ro-bind-try', path, path]),
        ...['--dev', '/dev', '--tmpfs', '/tmp'],
        ...devices.flatMap((path) => ['--dev-bind-try', path, path]),
        ...binds(readable, writable),
        ...['--chdir', '/', '--'],
      ],
      {
        group: 'sandbox',
        what: 'Shows QEMU the programs of the system, the files of this VM and no others, and no process but its own.',
        why: 'The dashboard is not root, so QEMU shares its user: a guest that breaks out finds neither home directories nor the database, keys and backups of the dashboard, nor the directories of other VMs.',
        origin: 'security',
      },
    ),
  ]
}

const one = (path: string | null): string[] => (path === null ? [] : [path])

const filesOf = (chain: CompileInput['drives'][number]['chain'], readOnly: boolean): string[] =>
  chain.filter((file) => file.readOnly === readOnly).map((file) => file.path)

/** `/opt/qemu/bin/qemu-system-x86_64` brings its files in `/opt/qemu`. */
function prefixOf(binary: string): string[] {
  const prefix = binary.split('/').slice(0, -2).join('/')
  return prefix === '' || prefix === '/usr' || prefix.startsWith('/usr/') ? [] : [prefix]
}

/** Outer ones first; what lies in a directory that is shown already needs no bind of its own. */
function binds(readable: readonly string[], writable: readonly string[]): string[] {
  const shown: { readonly path: string; readonly writes: boolean }[] = []
  const wanted = [
    ...new Map(
      [...readable.map((path) => [path, false] as const), ...writable.map((path) => [path, true] as const)].map(
        ([path, writes]) => [path, { path, writes }],
      ),
    ).values(),
  ].sort((a, b) => a.path.length - b.path.length)
  for (const { path, writes } of wanted) {
    const outer = shown.findLast((one) => isWithin(path, one.path))
    if (outer === undefined || outer.writes !== writes) shown.push({ path, writes })
  }
  return shown.flatMap(({ path, writes }) => [writes ? '--bind-try' : '--ro-bind-try', path, path])
}

const isWithin = (path: string, dir: string): boolean => path === dir || path.startsWith(`${dir}/`)

/** The part of a wrapper that locks QEMU in; null where nothing does. */
export function confinementOf(wrapper: readonly PlannedOption[]): PlannedOption | null {
  return wrapper.find(({ argv }) => argv[0]?.split('/').at(-1) === 'bwrap') ?? null
}

/** Which of these files a locked-in QEMU does not see; empty where it is not locked in. */
export function hiddenFiles(wrapper: readonly PlannedOption[], files: readonly string[]): string[] {
  const argv = confinementOf(wrapper)?.argv
  if (argv === undefined) return []
  const shown = argv.flatMap((word, at) => (/^--(ro-|dev-)?bind(-try)?$/.test(word) ? one(argv[at + 2] ?? null) : []))
  return files.filter((file) => file.startsWith('/') && !shown.some((dir) => isWithin(file, dir)))
}

/** Whether it was started without any network of the host. */
export const hasNoNetwork = (wrapper: readonly PlannedOption[]): boolean =>
  confinementOf(wrapper)?.argv.includes(UNSHARE_NET) ?? false
