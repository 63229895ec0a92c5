/** Network cards and what they are plugged into. */
import type { NetworkCard } from '#lib/schema/vm-spec.ts'
import { netdevId, rootPortId } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { PlannedOption } from '../types.ts'

export function networkOptions(card: NetworkCard, pointer: string): PlannedOption[] {
  const forwards = card.forwards.map((f) => `${f.protocol} 127.0.0.1:${f.hostPort} to port ${f.guestPort}`)
  return [
    jsonOption(
      '-netdev',
      {
        type: 'user',
        id: netdevId(card.id),
        restrict: card.restrict,
        ...(card.forwards.length === 0
          ? {}
          : { hostfwd: card.forwards.map((f) => ({ str: `${f.protocol}:127.0.0.1:${f.hostPort}-:${f.guestPort}` })) }),
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
    jsonOption(
      '-device',
      {
        driver: 'virtio-net-pci',
        id: card.id,
        bus: rootPortId(card.rootPort ?? 0),
        addr: '0x0',
        netdev: netdevId(card.id),
        mac: card.mac,
        romfile: '',
      },
      {
        group: card.id,
        what: `A virtio network card on PCIe port ${card.rootPort} with address ${card.mac}, without boot ROM.`,
        why: 'virtio costs the host the least per packet. The address is fixed, so that the guest keeps its network settings.',
        origin: 'default',
        field: pointer,
      },
    ),
  ]
}
