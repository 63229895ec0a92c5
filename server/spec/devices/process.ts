/** How the QEMU process is wrapped, named and watched. */

import { QEMU_IDS } from '../ids.ts'
import { type Explained, escapeCommas, jsonOption, option, socketChardev } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'
import { confinementOptions } from './confinement.ts'

/** Open files one QEMU may hold: sockets, disks and viewers need a few dozen. */
const MAX_OPEN_FILES = 8192

/**
 * Programs that run before QEMU in the same process, outermost first. Each costs one exec (about a millisecond),
 * so the shell that sets the umask lowers the limits too instead of a `prlimit` of its own.
 */
export function wrapperOptions(
  input: Pick<CompileInput, 'user' | 'tools' | 'confinement' | 'spec' | 'paths' | 'drives' | 'capabilities'>,
): PlannedOption[] {
  const { user, tools } = input
  const options: PlannedOption[] = []
  if (tools.setpriv !== null && user !== null) {
    options.push(
      option(
        [
          tools.setpriv,
          `--reuid=${user.uid}`,
          `--regid=${user.gid}`,
          user.groups.length === 0 ? '--clear-groups' : `--groups=${user.groups.join(',')}`,
          '--no-new-privs',
          '--bounding-set=-all',
          '--inh-caps=-all',
          '--',
        ],
        {
          group: 'process',
          what: `Runs everything after it as user ${user.uid} without any privilege, and makes gaining one impossible. Its groups may read images of the library and files that its disks stand on together with other VMs’.`,
          why: 'A guest that breaks out of QEMU must find itself nobody on the host. Privileges are dropped before QEMU runs, because its sandbox forbids dropping them later.',
          origin: 'security',
        },
      ),
    )
  } else if (tools.setpriv !== null) {
    options.push(
      option([tools.setpriv, '--no-new-privs', '--'], {
        group: 'process',
        what: 'Makes it impossible to gain privileges by running another program.',
        why: 'The dashboard is not root, so QEMU shares its user; this keeps a break-out from going further.',
        origin: 'security',
      }),
    )
  }
  options.push(...confinementOptions(input))
  options.push(
    option(
      [
        '/bin/sh',
        '-c',
        `umask ${user === null ? '077' : '007'}; ulimit -c 0; ulimit -n ${MAX_OPEN_FILES} 2>/dev/null || ulimit -n "$(ulimit -H -n)"; exec "$@"`,
        'sh',
      ],
      {
        group: 'process',
        what: `Makes new files and sockets private to QEMU's user${user === null ? '' : " and the dashboard's group"}, forbids core dumps, allows ${MAX_OPEN_FILES} open files, then becomes QEMU.`,
        why: 'QEMU creates its sockets with the permissions the umask leaves: anyone who can open them controls the guest. A core dump would hold the memory of the guest.',
        origin: 'security',
      },
    ),
  )
  return options
}

export function processOptions(input: Pick<CompileInput, 'vmId' | 'paths'>): PlannedOption[] {
  const { vmId, paths } = input
  const group = 'process'
  return [
    option(['-name', `guest=${escapeCommas(vmId)},debug-threads=on`], {
      group,
      what: 'Names the process after the VM and its threads after what they do.',
      why: 'So that it can be told apart in ps and top. The id is used, not the name, because it never changes.',
      origin: 'plumbing',
    }),
    option(['-uuid', vmId], {
      group,
      what: 'Gives the guest this machine id (SMBIOS system UUID).',
      why: 'Software in the guest may tie itself to it, so it stays the same for ever. The dashboard also finds its guests again by it.',
      origin: 'plumbing',
    }),
    option(['-no-user-config'], {
      group,
      what: 'Ignores configuration files of QEMU on the host.',
      why: 'The guest must be what its definition says, nothing else.',
      origin: 'plumbing',
    }),
    option(['-nodefaults'], {
      group,
      what: 'Leaves out the devices QEMU would add by itself.',
      why: 'Every device in the guest has a line of its own here.',
      origin: 'plumbing',
    }),
    option(['-S'], {
      group,
      what: 'Starts with the virtual CPUs stopped.',
      why: 'The dashboard checks that everything is in place, then lets them run.',
      origin: 'plumbing',
    }),
    option(['-no-shutdown'], {
      group,
      what: 'Keeps QEMU when the guest switches itself off.',
      why: 'So that a shutdown from inside is seen for what it is, even when the dashboard was not running at that moment.',
      origin: 'plumbing',
    }),
    option(['-action', 'reboot=reset,shutdown=pause,panic=pause'], {
      group,
      what: 'Guest reboots: reset. Guest shuts down or its kernel panics: pause and wait.',
      why: 'A panic stays on the screen to be read, and is never mistaken for a shutdown.',
      origin: 'plumbing',
    }),
    option(['-pidfile', paths.pidfile], {
      group,
      what: 'Writes the process id to a file and keeps it locked.',
      why: 'The lock tells a restarted dashboard for certain whether this very QEMU still runs, so no guest is ever started twice.',
      origin: 'plumbing',
    }),
    option(['-msg', 'timestamp=on'], {
      group,
      what: "Puts the time before each of QEMU's messages.",
      why: 'To match what QEMU complains about with what happened.',
      origin: 'plumbing',
    }),
  ]
}

/** Two control sockets: a monitor serves one client at a time. */
export function monitorOptions(input: Pick<CompileInput, 'paths' | 'capabilities'>): PlannedOption[] {
  const group = 'monitor'
  // QEMU 11 deprecates -mon for monitor objects, which older ones do not have.
  const hasObject = input.capabilities.types.includes('monitor-qmp')
  const speakQmp = (chardev: string, about: Explained) =>
    hasObject
      ? jsonOption('-object', { 'qom-type': 'monitor-qmp', id: `${chardev}.qmp`, chardev }, about)
      : option(['-mon', `chardev=${chardev},mode=control`], about)
  const pair = (id: string, path: string, what: string, why: string) => [
    socketChardev(id, path, { group, what: `Opens the ${what} socket for one client.`, why, origin: 'plumbing' }),
    speakQmp(id, {
      group,
      what: `Speaks QMP, QEMU's machine protocol, on the ${what} socket.`,
      why,
      origin: 'plumbing',
    }),
  ]
  return [
    ...pair(
      QEMU_IDS.monitor,
      input.paths.qmp,
      'control',
      'The dashboard controls the guest and hears its events here. A unix socket, because whoever reaches it can do everything QEMU can.',
    ),
    ...pair(
      QEMU_IDS.monitorRescue,
      input.paths.qmpRescue,
      'rescue control',
      'A monitor talks to one client at a time; the second is for taking over while the first is held.',
    ),
  ]
}

export function sandboxOptions(input: Pick<CompileInput, 'capabilities'>): PlannedOption[] {
  if (!input.capabilities.seccomp) return []
  return [
    option(['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'], {
      group: 'sandbox',
      what: 'Lets the kernel kill QEMU when it uses a system call that it never needs: starting programs, changing user, changing limits.',
      why: 'A guest that takes over QEMU cannot start anything on the host.',
      origin: 'security',
    }),
  ]
}
