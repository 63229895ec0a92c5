/**
 * Network cards and what they are plugged into.
 *
 * QEMU: qapi/net.json (Netdev), net/slirp.c, net/tap.c, docs/system/devices/net.rst; the cards in hw/net. Conventional
 * PCI cards (e1000, rtl8139) sit on a PCIe root port like the others: QEMU accepts it and guests drive them there.
 */
import type { NetworkCard, VmSpec } from '#lib/schema/vm-spec.ts'
import { socketName, socketPlace, virtioDriver } from '../bus.ts'
import { netdevId, QEMU_IDS } from '../ids.ts'
import { type Json, jsonOption } from '../option.ts'
import type { CompileInput, PlannedCommand, PlannedOption, PlannedTap } from '../types.ts'

const VIRTIO_WHY = 'virtio costs the host the least per packet.'
const ABOUT: Readonly<Record<NetworkCard['model'], { readonly what: string; readonly why: string }>> = {
  'virtio-net': { what: 'A virtio network card', why: VIRTIO_WHY },
  e1000e: {
    what: 'An Intel 82574L network card',
    why: 'Real hardware that current systems know without extra drivers, Windows included. Costs more per packet than virtio.',
  },
  e1000: {
    what: 'An Intel 82540EM network card',
    why: 'Real hardware that systems since about 2003 know without extra drivers. Costs more per packet than virtio.',
  },
  rtl8139: {
    what: 'A Realtek 8139 network card',
    why: 'Fast Ethernet of the nineties, for the oldest systems. The slowest of all.',
  },
  vmxnet3: {
    what: 'A VMware vmxnet3 network card',
    why: 'For guests that came from VMware with its driver installed.',
  },
  'usb-net': {
    what: 'A USB network card',
    // hw/usb/dev-network.c puts 0x40 for the first byte; some drivers do not ask for the address at all.
    why: 'Takes no PCI socket; slow. Linux knows it, Windows only as RNDIS. The guest may show another address.',
  },
}

/** What the card's network is; `host` tells whether packets can move in the kernel. */
export function networkOptions(
  card: NetworkCard,
  pointer: string,
  input: Pick<CompileInput, 'spec' | 'vmId' | 'host'>,
): PlannedOption[] {
  return [...backendOptions(card, pointer, input), cardOption(card, pointer, input.spec)]
}

function backendOptions(
  card: NetworkCard,
  pointer: string,
  { vmId, host }: Pick<CompileInput, 'vmId' | 'host'>,
): PlannedOption[] {
  const id = netdevId(card.id)
  switch (card.network) {
    case 'none':
      return []
    case 'user': {
      const forwards = card.forwards.map((f) => `${f.protocol} 127.0.0.1:${f.hostPort} to port ${f.guestPort}`)
      return [
        jsonOption(
          '-netdev',
          {
            type: 'user',
            id,
            restrict: card.restrict,
            ...(card.forwards.length === 0
              ? {}
              : {
                  hostfwd: card.forwards.map((f) => ({
                    str: `${f.protocol}:127.0.0.1:${f.hostPort}-:${f.guestPort}`,
                  })),
                }),
          },
          {
            group: card.id,
            what: `A private network inside QEMU with its own address server; ${
              card.restrict
                ? 'the guest reaches nothing through it'
                : "connections go out as the dashboard host's, and also reach services that listen only on the host itself"
            }${forwards.length === 0 ? '' : `. Forwards ${forwards.join(', ')}`}.`,
            why: 'Needs no rights and no set-up on the host. Forwards listen on the loopback address only, so they are not open to the network.',
            origin: card.restrict || forwards.length > 0 ? 'choice' : 'default',
            field: pointer,
          },
        ),
      ]
    }
    case 'bridge': {
      const vhost = card.vhost && host.vhostNet
      return [
        jsonOption(
          '-netdev',
          {
            type: 'tap',
            id,
            ifname: tapName(vmId, card.id),
            script: 'no',
            downscript: 'no',
            ...(card.model === 'virtio-net' ? { vhost } : {}),
            ...(isMultiQueue(card) ? { queues: card.queues } : {}),
          },
          {
            group: card.id,
            what: `Connects the card to the host's bridge ${card.bridge}, so that the guest is a machine of its own on that network.${vhost ? " Packets move in the host's kernel." : ''}`,
            why: 'The dashboard makes the tap before the start and removes it afterwards; QEMU itself changes nothing on the host and runs no script.',
            origin: 'choice',
            field: `${pointer}/bridge`,
          },
        ),
      ]
    }
  }
}

const isMultiQueue = (card: NetworkCard): card is NetworkCard & { queues: number } =>
  card.queues !== null && card.queues > 1

function cardOption(card: NetworkCard, pointer: string, spec: VmSpec): PlannedOption {
  const isUsb = card.model === 'usb-net'
  const driver = card.model === 'virtio-net' ? virtioDriver(spec, 'virtio-net') : card.model
  const place: Readonly<Record<string, Json>> = isUsb
    ? { bus: `${QEMU_IDS.usb}.0`, port: String(card.port ?? 0) }
    : socketPlace(spec, card.rootPort ?? 0)
  const hasRom = !isUsb && 'bus' in place
  const about = ABOUT[card.model]
  const where = isUsb ? `USB port ${card.port}` : socketName(spec, card.rootPort ?? 0)
  return jsonOption(
    '-device',
    {
      driver,
      id: card.id,
      ...place,
      ...(card.network === 'none' ? {} : { netdev: netdevId(card.id) }),
      mac: card.mac,
      // With its boot ROM the firmware would offer a card that nobody wants to boot from.
      ...(card.bootIndex !== null ? { bootindex: card.bootIndex } : hasRom ? { romfile: '' } : {}),
      // Two vectors a queue pair, one for changes of configuration, one for the control queue.
      ...(isMultiQueue(card) ? { mq: true, vectors: 2 * card.queues + 2 } : {}),
      ...(card.mtu === null ? {} : { host_mtu: card.mtu }),
    },
    {
      group: card.id,
      what: `${about.what} on ${where} with address ${card.mac}, ${
        card.bootIndex === null ? 'without boot ROM' : `boot position ${card.bootIndex}`
      }${isCableOut(card) ? ', cable unplugged' : ''}.`,
      why: `${about.why} The address is fixed, so that the guest keeps its network settings.`,
      origin: 'default',
      field: pointer,
    },
  )
}

/** A card without a network has no cable either, so that the guest does not wait for an address. */
const isCableOut = (card: NetworkCard): boolean => !card.link || card.network === 'none'

/** No option says that a cable is out; QEMU is told before the guest runs. */
export function linkCommands(spec: VmSpec): PlannedCommand[] {
  return spec.networks.flatMap((card, index) =>
    isCableOut(card)
      ? [
          {
            execute: 'set_link',
            arguments: { name: card.id, up: false },
            what: `Unplugs the cable of ${card.id}.`,
            field: card.link ? `/networks/${index}/network` : `/networks/${index}/link`,
          },
        ]
      : [],
  )
}

/** Taps of the cards on bridges. */
export function plannedTaps({ spec, vmId }: Pick<CompileInput, 'spec' | 'vmId'>): PlannedTap[] {
  return spec.networks.flatMap((card) =>
    card.network === 'bridge' && card.bridge !== null
      ? [
          {
            card: card.id,
            name: tapName(vmId, card.id),
            bridge: card.bridge,
            multiQueue: isMultiQueue(card),
            mtu: card.mtu,
            rateLimit: card.rateLimit,
          },
        ]
      : [],
  )
}

const FNV_OFFSET = 0xcbf29ce484222325n
const FNV_PRIME = 0x100000001b3n
const U64 = 0xffffffffffffffffn

/**
 * Name of a card's tap on the host: `gd` and 13 characters, the 15 bytes that Linux allows (IFNAMSIZ). A hash of VM and
 * card (FNV-1a, 64 bits), so that it is the same at every start and no two cards of a host meet.
 */
export function tapName(vmId: string, cardId: string): string {
  let hash = FNV_OFFSET
  for (const char of `${vmId}/${cardId}`) hash = ((hash ^ BigInt(char.codePointAt(0) ?? 0)) * FNV_PRIME) & U64
  return `gd${hash.toString(36).padStart(13, '0')}`
}
