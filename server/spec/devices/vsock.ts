/** Sockets between guest and host without a network. QEMU's hw/virtio/vhost-vsock-pci.c; the packets move in the host's kernel. */
import { slotPlace, virtioDriver } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

export function vsockOptions({ spec }: CompileInput): PlannedOption[] {
  if (spec.vsock === null) return []
  return [
    jsonOption(
      '-device',
      {
        driver: virtioDriver(spec, 'vhost-vsock'),
        id: QEMU_IDS.vsock,
        ...slotPlace(spec, 'vsock'),
        'guest-cid': spec.vsock.cid,
      },
      {
        group: 'vsock',
        what: `Sockets between guest and host that need no network; the guest has the address ${spec.vsock.cid}.`,
        why: 'For agents and tools that must work without any network set-up.',
        origin: 'choice',
        field: '/vsock',
      },
    ),
  ]
}
