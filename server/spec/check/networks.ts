/** Rules of network cards and of what they are plugged into. */
import type { NetworkCard, VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { familyOf, virtioDriver } from '../bus.ts'
import { bad, claims, missingTypes, type NeededType, type SpecProblem } from './problem.ts'

export function checkNetworks(spec: VmSpec): SpecProblem[] {
  const claimMac = claims<string>()
  const claimForward = claims<string>()
  return spec.networks.flatMap((card, index) => {
    const at = `networks.${index}`
    const problems = [...checkModel(card, at, spec), ...checkPlace(card, at), ...checkNetwork(card, at)]
    if (card.mac === '00:00:00:00:00:00')
      problems.push(bad(`${at}.mac`, 'This address belongs to nobody; leave it out to get a fresh one.'))
    if (claimMac(card.mac, `${at}.mac`) !== null)
      problems.push(
        bad(`${at}.mac`, `Two network cards have the address ${card.mac}; leave it out to get a fresh one.`),
      )
    card.forwards.forEach((forward, n) => {
      const field = `${at}.forwards.${n}.hostPort`
      if (claimForward(`${forward.protocol}:${forward.hostPort}`, field) !== null)
        problems.push(
          bad(
            field,
            `Host port ${forward.protocol} ${forward.hostPort} is forwarded twice; a port leads to one place.`,
          ),
        )
    })
    return problems
  })
}

function checkModel(card: NetworkCard, at: string, spec: VmSpec): SpecProblem[] {
  const problems: SpecProblem[] = []
  const isMicrovm = familyOf(spec.machine) === 'microvm'
  const isVirtio = card.model === 'virtio-net'
  if (isMicrovm && !isVirtio)
    problems.push(bad(`${at}.model`, 'A microvm has virtio devices only; choose "virtio-net".'))
  if (card.bootIndex !== null && (isMicrovm || card.model === 'usb-net'))
    problems.push(
      bad(
        `${at}.bootIndex`,
        isMicrovm
          ? 'The firmware of a microvm cannot boot from a network.'
          : 'No firmware boots from a USB network card; choose another model.',
      ),
    )
  if (card.mtu !== null && !isVirtio)
    problems.push(bad(`${at}.mtu`, `Only virtio-net tells the guest an MTU; ${card.model} cannot.`))
  if (card.queues !== null && !isVirtio)
    problems.push(bad(`${at}.queues`, `Only virtio-net has several queues; ${card.model} has one.`))
  if (card.vhost && !isVirtio)
    problems.push(bad(`${at}.vhost`, `Only packets of virtio-net can move in the kernel; choose that model.`))
  return problems
}

function checkPlace(card: NetworkCard, at: string): SpecProblem[] {
  if (card.model === 'usb-net') {
    if (card.rootPort !== null) return [bad(`${at}.rootPort`, 'A USB network card sits on no socket; leave it out.')]
    return card.port === null ? [bad(`${at}.port`, 'A USB network card needs a port; leave it out to get one.')] : []
  }
  if (card.port !== null) return [bad(`${at}.port`, `${card.model} is a PCI card and has no USB port; leave it out.`)]
  return card.rootPort === null ? [bad(`${at}.rootPort`, 'This card needs a socket; leave it out to get one.')] : []
}

function checkNetwork(card: NetworkCard, at: string): SpecProblem[] {
  const problems: SpecProblem[] = []
  const only = (field: string, what: string, network: string) =>
    problems.push(bad(`${at}.${field}`, `Only ${network} has ${what}.`))
  if (card.network === 'bridge') {
    if (card.bridge === null) problems.push(bad(`${at}.bridge`, 'Which bridge of the host is the card plugged into?'))
  } else {
    if (card.bridge !== null) only('bridge', 'a bridge; choose the network "bridge"', 'a card on a bridge')
    if (card.queues !== null && card.queues > 1) only('queues', 'several queues', 'a card on a bridge')
    if (card.vhost) only('vhost', 'packets that move in the kernel', 'a card on a bridge')
    if (card.rateLimit !== null) only('rateLimit', 'a rate limit', 'a card on a bridge')
  }
  if (card.network !== 'user') {
    if (card.restrict) only('restrict', 'restrictions', 'the user network')
    if (card.forwards.length > 0) only('forwards', 'port forwards', 'the user network')
  }
  return problems
}

function neededTypes(spec: VmSpec): NeededType[] {
  return spec.networks.map((card, n) => [
    card.model === 'virtio-net' ? virtioDriver(spec, card.model) : card.model,
    `networks.${n}.model`,
  ])
}

export function checkNetworkCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const problems = missingTypes(neededTypes(spec), capabilities)
  spec.networks.forEach((card, n) => {
    const backend = card.network === 'bridge' ? 'tap' : card.network
    if (backend !== 'none' && !capabilities.backends.netdev.includes(backend))
      problems.push(
        bad(
          `networks.${n}.network`,
          `QEMU ${capabilities.version} on this host was built without the network "${backend}"; install the module or choose another.`,
        ),
      )
  })
  return problems
}
