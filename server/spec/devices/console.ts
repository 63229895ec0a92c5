/**
 * The serial console, and every other line between guest and host: the agent's, the clipboard's, those of the spec.
 *
 * QEMU's hw/char (serial-isa.c, serial-pci.c, virtio-console.c), chardev/ (char-socket.c, char-ringbuf.c) and ui/vdagent.c.
 * A socket back end drops what the guest sends while nobody is connected, so a line nobody reads never stops the guest; one
 * that is connected must be read.
 */
import type { Channel, VmSpec } from '#lib/schema/vm-spec.ts'
import { slotPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption, option, socketChardev } from '../option.ts'
import type { CompileInput, LaunchPaths, PlannedOption } from '../types.ts'

export const AGENT_PORT_NAME = 'org.qemu.guest_agent.0'
/** Name by which spice-vdagent looks for its channel. */
export const CLIPBOARD_PORT_NAME = 'com.redhat.spice.0'
/** A virtio-serial controller has the ports 0 to 30 (`max_ports` 31); the highest is the clipboard's. */
export const CLIPBOARD_PORT = 30
const VIRTIO_SERIAL_BUS = `${QEMU_IDS.virtioSerial}.0`
/** Back end `log`: QEMU keeps as many bytes, a power of two, whatever the guest sends. */
const CHANNEL_LOG_BYTES = 2 ** 20

/** The back end of a channel. */
const channelChardev = (id: string): string => `${id}.chr`

/** The socket of a channel with back end `socket`; a path of the run directory. */
export const channelSocket = (paths: Pick<LaunchPaths, 'dir'>, channel: Pick<Channel, 'device' | 'port'>): string =>
  `${paths.dir}/${channel.device === 'isa-serial' ? 'com' : 'v'}${channel.port}.sock`

/** Fields that ask for the virtio-serial controller. */
export function virtioSerialUsers(spec: VmSpec): string[] {
  return [
    ...(spec.serial && spec.serialDevice === 'virtconsole' ? ['serialDevice'] : []),
    ...(spec.agentChannel ? ['agentChannel'] : []),
    ...(spec.clipboard ? ['clipboard'] : []),
    ...spec.channels.flatMap((channel, n) => (channel.device === 'isa-serial' ? [] : [`channels.${n}.device`])),
  ]
}

/** Serial console, agent, clipboard and channels; the virtio-serial controller before the first that is plugged into it. */
export function channelOptions(input: CompileInput): PlannedOption[] {
  const options = [
    ...serialOptions(input),
    ...agentOptions(input),
    ...clipboardOptions(input),
    ...input.spec.channels.flatMap((channel, index) => extraChannel(input, channel, index)),
  ]
  const first = options.findIndex((each) => each.argv[1]?.includes(`"bus":"${VIRTIO_SERIAL_BUS}"`) === true)
  return first < 0 ? options : options.toSpliced(first, 0, controller(input.spec))
}

function controller(spec: VmSpec): PlannedOption {
  const users = virtioSerialUsers(spec)
  return jsonOption(
    '-device',
    {
      driver: virtioDriver(spec, 'virtio-serial'),
      id: QEMU_IDS.virtioSerial,
      ...slotPlace(spec, 'virtioSerial'),
    },
    {
      group: spec.agentChannel ? 'agent' : 'channels',
      what: 'A virtio controller for channels between guest and host.',
      why: users.length === 1 && spec.agentChannel ? 'It carries the agent channel.' : 'It carries the channels below.',
      origin: 'default',
      field: `/${(users[0] ?? 'agentChannel').replaceAll('.', '/')}`,
    },
  )
}

function serialOptions({ spec, paths }: CompileInput): PlannedOption[] {
  if (!spec.serial) return []
  const group = 'serial'
  const chardev = QEMU_IDS.serialChardev
  const field = spec.serialDevice === 'isa-serial' ? '/serial' : '/serialDevice'
  return [
    socketChardev(chardev, paths.serial, {
      group,
      what: 'The far end of the serial line: a socket that only the dashboard can open.',
      why: 'The dashboard reads it all the time and keeps what it said, so that a line nobody watches never stops the guest.',
      origin: 'plumbing',
      field: '/serial',
    }),
    serialPort(spec, chardev, { group, field }),
  ]
}

function serialPort(spec: VmSpec, chardev: string, about: { group: string; field: string }): PlannedOption {
  const id = QEMU_IDS.serialPort
  switch (spec.serialDevice) {
    case 'isa-serial':
      return jsonOption(
        '-device',
        { driver: 'isa-serial', id, chardev, index: 0 },
        {
          ...about,
          what: 'The first serial port (COM1, ttyS0).',
          why: 'A text console that works before any driver does, and when the screen does not.',
          origin: 'default',
        },
      )
    case 'pci-serial':
      return jsonOption(
        '-device',
        { driver: 'pci-serial', id, ...slotPlace(spec, 'serialCard'), chardev },
        {
          ...about,
          what: 'A serial port on a PCI card.',
          why: 'For guests whose mainboard has none. Firmware does not use it, so nothing appears before the guest’s own driver.',
          origin: 'choice',
        },
      )
    case 'virtconsole':
      return jsonOption(
        '-device',
        // Port 0 is what a guest takes for its first console.
        { driver: 'virtconsole', id, bus: VIRTIO_SERIAL_BUS, nr: 0, chardev },
        {
          ...about,
          what: 'A virtio console (hvc0 in Linux).',
          why: 'Much faster than a serial port. Nothing appears before the guest’s driver: start Linux with console=hvc0.',
          origin: 'choice',
        },
      )
  }
}

function agentOptions({ spec, paths }: CompileInput): PlannedOption[] {
  if (!spec.agentChannel) return []
  const group = 'agent'
  const field = '/agentChannel'
  return [
    socketChardev(QEMU_IDS.agentChardev, paths.agent, {
      group,
      what: 'The far end of the agent channel: a socket that only the dashboard can open.',
      why: 'The dashboard asks the agent to shut down cleanly and for its addresses.',
      origin: 'plumbing',
      field,
    }),
    jsonOption(
      '-device',
      {
        driver: 'virtserialport',
        id: QEMU_IDS.agentPort,
        bus: VIRTIO_SERIAL_BUS,
        nr: 1,
        chardev: QEMU_IDS.agentChardev,
        name: AGENT_PORT_NAME,
      },
      {
        group,
        what: 'The channel that qemu-guest-agent looks for by its name.',
        why: 'Does nothing until the agent is installed in the guest.',
        origin: 'default',
        field,
      },
    ),
  ]
}

function clipboardOptions({ spec }: CompileInput): PlannedOption[] {
  if (!spec.clipboard) return []
  const group = 'clipboard'
  const field = '/clipboard'
  return [
    option(['-chardev', `qemu-vdagent,id=${QEMU_IDS.clipboardChardev},name=vdagent,clipboard=on,mouse=off`], {
      group,
      what: 'QEMU’s own end of the clipboard: passes text between viewers of the screen and the guest.',
      why: 'Only viewers who may control the guest reach it; the dashboard drops what others send. The pointer stays with the tablet.',
      origin: 'choice',
      field,
    }),
    jsonOption(
      '-device',
      {
        driver: 'virtserialport',
        id: QEMU_IDS.clipboardPort,
        bus: VIRTIO_SERIAL_BUS,
        nr: CLIPBOARD_PORT,
        chardev: QEMU_IDS.clipboardChardev,
        name: CLIPBOARD_PORT_NAME,
      },
      {
        group,
        what: 'The channel that spice-vdagent looks for by its name.',
        why: 'Does nothing until spice-vdagent runs in the guest’s desktop session.',
        origin: 'choice',
        field,
      },
    ),
  ]
}

/** `-device` of one channel. */
function channelDevice(channel: Channel) {
  const { id, device, port, name } = channel
  const chardev = channelChardev(id)
  return device === 'isa-serial'
    ? { driver: device, id, chardev, index: port }
    : {
        driver: device,
        id,
        bus: VIRTIO_SERIAL_BUS,
        nr: port,
        chardev,
        ...(name === null ? {} : { name }),
      }
}

function extraChannel({ paths }: CompileInput, channel: Channel, index: number): PlannedOption[] {
  const group = 'channels'
  const field = `/channels/${index}`
  const { id, device, port, backend } = channel
  const chardev = channelChardev(id)
  const what = {
    'isa-serial': `The serial port COM${port + 1} (ttyS${port}), called ${id}.`,
    virtserialport: `The channel ${channel.name}, which the guest finds as /dev/virtio-ports/${channel.name}.`,
    virtconsole: `A further virtio console, called ${id}.`,
  }[device]
  return [
    backend === 'socket'
      ? socketChardev(chardev, channelSocket(paths, channel), {
          group,
          what: `The far end of ${id}: a unix socket on the host, for one program.`,
          why: 'What the guest sends while no program is connected is dropped, so that the guest never waits for one.',
          origin: 'choice',
          field,
        })
      : option(['-chardev', `ringbuf,id=${chardev},size=${CHANNEL_LOG_BYTES}`], {
          group,
          what: `QEMU keeps the last ${CHANNEL_LOG_BYTES / 2 ** 20} MiB of what the guest sends to ${id}.`,
          why: 'A file would grow for as long as the guest likes. The monitor command ringbuf-read fetches it.',
          origin: 'choice',
          field,
        }),
    jsonOption('-device', channelDevice(channel), {
      group,
      what,
      why: 'Carries text between a program in the guest and one on the host, without a network.',
      origin: 'choice',
      field,
    }),
  ]
}
