/**
 * Directories of the host that the guest mounts.
 *
 * virtiofs: QEMU's hw/virtio/vhost-user-fs.c and the virtiofsd manual; a daemon serves the directory over the guest's
 * memory, which must therefore be shared. 9p: hw/9pfs and docs/system/invocation.rst (`-fsdev`); QEMU serves it itself.
 */
import type { Share, VmSpec } from '#lib/schema/vm-spec.ts'
import { socketName, socketPlace, virtioDriver } from '../bus.ts'
import { escapeCommas, jsonOption, option } from '../option.ts'
import type { CompileInput, LaunchPaths, PlannedHelper, PlannedOption } from '../types.ts'

/** True when another process serves the guest's memory: `share=on` for its back end. */
export const needsSharedMemory = (spec: Pick<VmSpec, 'shares'>): boolean =>
  spec.shares.some((share) => share.driver === 'virtiofs')

const shareSocket = (paths: Pick<LaunchPaths, 'dir'>, share: Pick<Share, 'rootPort'>): string =>
  `${paths.dir}/fs${share.rootPort}.sock`

/** Chardev or fsdev of a share. */
const shareBackend = (id: string): string => `${id}.fs`

/** QEMU's driver of a share. */
export const shareDriver = (spec: Pick<VmSpec, 'machine'>, share: Pick<Share, 'driver'>): string =>
  virtioDriver(spec, share.driver === 'virtiofs' ? 'vhost-user-fs' : 'virtio-9p')

export function shareOptions({ spec, paths }: CompileInput): PlannedOption[] {
  const group = 'shares'
  return spec.shares.flatMap((share, index) => {
    const field = `/shares/${index}`
    const { id, tag, rootPort, readOnly, source } = share
    const driver = shareDriver(spec, share)
    const place = socketPlace(spec, rootPort)
    const rights = readOnly ? 'read only' : 'may be written by the guest'
    if (share.driver === 'virtiofs') {
      return [
        option(['-chardev', `socket,id=${shareBackend(id)},path=${escapeCommas(shareSocket(paths, share))}`], {
          group,
          what: `Connects QEMU to the daemon that serves the shared folder “${tag}”.`,
          why: 'The daemon runs beside QEMU, sees nothing but the folder, and ends with the guest.',
          origin: 'plumbing',
          field,
        }),
        jsonOption(
          '-device',
          { driver, id, ...place, chardev: shareBackend(id), tag },
          {
            group,
            what: `The shared folder “${tag}” by virtiofs, ${rights}, on ${socketName(spec, rootPort)}.`,
            why: `Fast, and files behave as on a local disk. In Linux: mount -t virtiofs ${tag} /mnt`,
            origin: 'choice',
            field,
          },
        ),
      ].map(endSentence)
    }
    return [
      option(
        [
          '-fsdev',
          `local,id=${shareBackend(id)},path=${escapeCommas(source)},security_model=mapped-xattr,multidevs=remap${readOnly ? ',readonly=on' : ''}`,
        ],
        {
          group,
          what: `Serves a directory of the host as the shared folder “${tag}”, ${rights}.`,
          why: 'Owners and modes that the guest sets are noted beside the files and never become real ones, nor do its links.',
          origin: 'choice',
          field,
        },
      ),
      jsonOption(
        '-device',
        { driver, id, ...place, fsdev: shareBackend(id), mount_tag: tag },
        {
          group,
          what: `The shared folder “${tag}” by 9p, on ${socketName(spec, rootPort)}.`,
          why: `Needs no daemon, but is slow. In Linux: mount -t 9p -o trans=virtio,version=9p2000.L ${tag} /mnt`,
          origin: 'choice',
          field,
        },
      ),
    ].map(endSentence)
  })
}

const endSentence = (planned: PlannedOption): PlannedOption =>
  planned.why.endsWith('.') ? planned : { ...planned, why: `${planned.why}.` }

/** One virtiofsd for each virtiofs share. `checkShares` has refused one without the program. */
export function shareHelpers({ spec, paths, tools }: CompileInput): PlannedHelper[] {
  const { virtiofsd } = tools
  if (virtiofsd === null) return []
  return spec.shares.flatMap((share, index) => {
    if (share.driver !== 'virtiofs') return []
    const socket = shareSocket(paths, share)
    return [
      {
        id: share.id,
        kind: 'virtiofsd' as const,
        option: option(daemon(virtiofsd, socket, share), {
          group: 'shares',
          what: `Serves a directory of the host as the shared folder “${share.tag}”${share.readOnly ? ', read only' : ''}.`,
          why: 'A program of its own, so that a guest that breaks it has broken neither QEMU nor the dashboard.',
          origin: 'choice',
          field: `/shares/${index}`,
        }),
        socket,
        dirs: [],
      },
    ]
  })
}

/**
 * The C daemon keeps a lock in this directory of root's, whoever it runs as (tools/virtiofsd/fuse_virtio.c): it gets an
 * empty one of its own.
 */
const OWN_LOCKS = '{ [ ! -d /run/virtiofsd ] || mount -t tmpfs tmpfs /run/virtiofsd; }'
/** It has no read-only mode either: the directory becomes a read-only mount before the daemon runs. */
const READ_ONLY = 'mount --bind -- "$1" "$1" && mount -o remount,bind,ro -- "$1"'

/**
 * The daemon enters a user namespace whose root is QEMU's user, so that it may confine itself to the directory without
 * any privilege on the host ("Running as non-privileged user" in virtiofsd's README; the C daemon works the same way).
 */
function daemon({ path, dialect }: NonNullable<CompileInput['tools']['virtiofsd']>, socket: string, share: Share) {
  const { source, readOnly } = share
  const namespaces = ['/usr/bin/unshare', '--user', '--map-root-user', '--net']
  if (dialect === 'rust')
    return [
      ...[...namespaces, '--', path, `--socket-path=${socket}`, '--shared-dir', source, '--sandbox=chroot'],
      ...(readOnly ? ['--readonly'] : []),
    ]
  // libfuse's option parser: a backslash keeps the comma that follows.
  const escaped = source.replaceAll(/[\\,]/g, (mark) => `\\${mark}`)
  const program = [path, '-f', `--socket-path=${socket}`, '-o', `source=${escaped},sandbox=chroot`]
  const script = [OWN_LOCKS, ...(readOnly ? [READ_ONLY] : []), 'shift', 'exec "$@"'].join(' && ')
  return [...namespaces, '--mount', '--', '/bin/sh', '-c', script, 'sh', source, ...program]
}
