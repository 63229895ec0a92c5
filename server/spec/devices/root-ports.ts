/** PCI Express root ports: the sockets that devices can be plugged into while the guest runs. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf } from '../bus.ts'
import { MAX_ROOT_PORTS, rootPortId, SLOTS } from '../ids.ts'
import { jsonOption } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'

/** Device id on each used port. */
function usedRootPorts(spec: VmSpec): Map<number, string> {
  const used = new Map<number, string>()
  for (const list of [spec.disks, spec.networks, spec.inputs, spec.shares, spec.hostDevices])
    for (const device of list)
      if ('rootPort' in device && device.rootPort !== null) used.set(device.rootPort, device.id)
  return used
}

/**
 * Ports 0 to n-1 without gaps: the guest looks at the other functions of a slot only when function 0 exists.
 * A port whose device was removed counts as a spare one.
 * Only q35 has such ports; on pc a free slot of its bus is as good.
 */
function rootPortCount(spec: VmSpec): number {
  if (familyOf(spec.machine) !== 'q35') return 0
  const used = usedRootPorts(spec)
  const highest = Math.max(-1, ...used.keys())
  return Math.min(MAX_ROOT_PORTS, Math.max(highest + 1, used.size + spec.spareRootPorts))
}

export function rootPortOptions({ spec }: CompileInput): PlannedOption[] {
  const used = usedRootPorts(spec)
  return Array.from({ length: rootPortCount(spec) }, (_, port) => {
    const slot = SLOTS.rootPortsFirst + Math.floor(port / 8)
    const fn = port % 8
    const device = used.get(port)
    return jsonOption(
      '-device',
      {
        driver: 'pcie-root-port',
        id: rootPortId(port),
        bus: 'pcie.0',
        addr: `0x${slot.toString(16)}.0x${fn}`,
        ...(fn === 0 ? { multifunction: true } : {}),
        chassis: port + 1,
        slot: port + 1,
      },
      {
        group: 'rootports',
        what: device === undefined ? `PCIe port ${port}, empty.` : `PCIe port ${port}, holds ${device}.`,
        why:
          device === undefined
            ? 'A device can be added here while the guest runs; the main bus takes none.'
            : 'On a port of its own a device keeps its address whatever else is added, and can be removed while the guest runs.',
        origin: 'default',
        field: '/spareRootPorts',
      },
    )
  })
}
