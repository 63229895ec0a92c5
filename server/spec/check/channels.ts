/** Serial console, channels and clipboard. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf, virtioDriver } from '../bus.ts'
import { AGENT_PORT_NAME, CLIPBOARD_PORT, CLIPBOARD_PORT_NAME, virtioSerialUsers } from '../devices/console.ts'
import { bad, claims, type NeededType, type SpecProblem } from './problem.ts'

const LAST_COM_PORT = 3

export function checkChannels(spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const isMicrovm = familyOf(spec.machine) === 'microvm'
  if (spec.serial && spec.serialDevice === 'pci-serial' && isMicrovm)
    problems.push(bad('serialDevice', 'microvm has no PCI bus; choose “isa-serial” or “virtconsole”.'))
  if (spec.clipboard && spec.display === 'none')
    problems.push(bad('clipboard', 'The clipboard travels with the screen; choose a display first.'))
  const claimCom = claims<number>()
  const claimPort = claims<number>()
  const claimName = claims<string>()
  claimPort(1, 'agentChannel')
  claimName(AGENT_PORT_NAME, 'agentChannel')
  claimName(CLIPBOARD_PORT_NAME, 'clipboard')
  if (spec.clipboard) claimPort(CLIPBOARD_PORT, 'clipboard')
  spec.channels.forEach((channel, n) => {
    const at = `channels.${n}`
    if (channel.device === 'isa-serial') {
      if (isMicrovm) problems.push(bad(`${at}.device`, 'microvm has one serial port at most; choose “virtserialport”.'))
      else if (channel.port > LAST_COM_PORT)
        problems.push(bad(`${at}.port`, 'A PC has the serial ports COM1 to COM4: 1 to 3 besides the console’s.'))
      else if (claimCom(channel.port, at) !== null)
        problems.push(bad(`${at}.port`, `COM${channel.port + 1} is there already; leave it out to get a free one.`))
    } else {
      const owner = claimPort(channel.port, at)
      if (owner !== null)
        problems.push(
          bad(
            `${at}.port`,
            owner === 'agentChannel'
              ? 'Port 1 is the guest agent’s; leave it out to get a free one.'
              : `Port ${channel.port} is taken${owner === 'clipboard' ? ' by the clipboard' : ''}; leave it out to get a free one.`,
          ),
        )
    }
    if (channel.device !== 'virtserialport' && channel.name !== null)
      problems.push(bad(`${at}.name`, 'Only a virtserialport has a name that the guest sees.'))
    else if (channel.device === 'virtserialport' && channel.name === null)
      problems.push(bad(`${at}.name`, 'The guest finds a virtserialport by its name; give it one.'))
    else if (channel.name !== null) {
      const owner = claimName(channel.name, at)
      if (owner !== null)
        problems.push(
          bad(
            `${at}.name`,
            owner.startsWith('channels')
              ? `Two channels are called ${channel.name}; the guest could not tell them apart.`
              : `The name ${channel.name} belongs to “${owner}”; switch that on instead, or choose another name.`,
          ),
        )
    }
  })
  return problems
}

export function channelTypes(spec: VmSpec): NeededType[] {
  const [user] = virtioSerialUsers(spec)
  return [
    ...(spec.serial
      ? [[spec.serialDevice, spec.serialDevice === 'isa-serial' ? 'serial' : 'serialDevice'] as const]
      : []),
    ...(user === undefined ? [] : [[virtioDriver(spec, 'virtio-serial'), user] as const]),
    ...(spec.agentChannel ? [['virtserialport', 'agentChannel'] as const] : []),
    ...spec.channels.map((channel, n) => [channel.device, `channels.${n}.device`] as const),
  ]
}

/** What QEMU must have besides device types. */
export function checkClipboard(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  return spec.clipboard && !capabilities.features.vdagent
    ? [bad('clipboard', `QEMU ${capabilities.version} on this host was built without its clipboard agent.`)]
    : []
}
