/** Devices that help guest and host to work together: random numbers, memory balloon, agent channel. */
import { QEMU_IDS, SLOTS } from '../ids.ts'
import { jsonOption, socketChardev } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export const AGENT_PORT_NAME = 'org.qemu.guest_agent.0'

export function rngOptions({ spec }: CompileInput): PlannedOption[] {
  if (!spec.rng) return []
  const group = 'rng'
  const field = '/rng'
  return [
    jsonOption(
      '-object',
      { 'qom-type': 'rng-random', id: QEMU_IDS.rngSource, filename: '/dev/urandom' },
      {
        group,
        what: "Takes random bytes from the host's kernel.",
        why: 'Never runs dry and never blocks.',
        origin: 'plumbing',
        field,
      },
    ),
    jsonOption(
      '-device',
      { driver: 'virtio-rng-pci', id: QEMU_IDS.rng, bus: 'pcie.0', addr: SLOTS.rng, rng: QEMU_IDS.rngSource },
      {
        group,
        what: 'Gives the guest a source of real random numbers.',
        why: 'A fresh virtual machine has little randomness of its own: keys would be weak, or booting would wait.',
        origin: 'default',
        field,
      },
    ),
  ]
}

export function balloonOptions({ spec }: CompileInput): PlannedOption[] {
  if (!spec.balloon) return []
  return [
    jsonOption(
      '-device',
      {
        driver: 'virtio-balloon-pci',
        id: QEMU_IDS.balloon,
        bus: 'pcie.0',
        addr: SLOTS.balloon,
        'deflate-on-oom': true,
        'free-page-reporting': true,
      },
      {
        group: 'balloon',
        what: 'Tells the host which memory the guest does not use, and how much it has left.',
        why: 'Freed memory goes back to the host, and the memory figures shown here come from it. Given up before the guest would run out.',
        origin: 'default',
        field: '/balloon',
      },
    ),
  ]
}

export function agentOptions({ spec, paths }: CompileInput): PlannedOption[] {
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
      { driver: 'virtio-serial-pci', id: QEMU_IDS.virtioSerial, bus: 'pcie.0', addr: SLOTS.virtioSerial },
      {
        group,
        what: 'A virtio controller for channels between guest and host.',
        why: 'It carries the agent channel.',
        origin: 'default',
        field,
      },
    ),
    jsonOption(
      '-device',
      {
        driver: 'virtserialport',
        id: QEMU_IDS.agentPort,
        bus: `${QEMU_IDS.virtioSerial}.0`,
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
