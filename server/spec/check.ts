/** Rules across the fields of a complete spec, which the schema cannot express. Used before storing and before compiling. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { ceilGiB } from '#lib/units.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { virtioDriver } from './bus.ts'
import { busTypes, checkBus, checkBusCapabilities } from './check/bus.ts'
import { checkCpu, checkCpuCapabilities } from './check/cpu.ts'
import { checkDriveCapabilities, checkDrives } from './check/drives.ts'
import { checkMachine, checkMachineCapabilities } from './check/machine.ts'
import { checkMemory, checkMemoryCapabilities } from './check/memory.ts'
import { checkNetworkCapabilities, checkNetworks } from './check/networks.ts'
import { checkPlaces } from './check/places.ts'
import { bad, missingTypes, type NeededType, type SpecProblem } from './check/problem.ts'
import type { NormalizeFacts } from './types.ts'

export type { SpecProblem } from './check/problem.ts'

/** Ids, ports, boot positions and addresses that may occur once; in the order of the spec. */
export function checkStructure(spec: VmSpec): SpecProblem[] {
  return [
    ...checkPlaces(spec),
    ...checkMachine(spec),
    ...checkCpu(spec),
    ...checkMemory(spec),
    ...checkDrives(spec),
    ...checkNetworks(spec),
    ...checkBus(spec),
  ]
}

/** Device types of QEMU a spec needs, with the field that asks for each. */
function neededTypes(spec: VmSpec): NeededType[] {
  const needed: NeededType[] = []
  if (spec.balloon) needed.push([virtioDriver(spec, 'virtio-balloon'), 'balloon'])
  needed.push(...busTypes(spec))
  return needed
}

/** What the spec asks of QEMU that this QEMU does not have. */
export function checkCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  return [
    ...checkMachineCapabilities(spec, capabilities),
    ...checkCpuCapabilities(spec, capabilities),
    ...checkMemoryCapabilities(spec, capabilities),
    ...checkDriveCapabilities(spec, capabilities),
    ...checkNetworkCapabilities(spec, capabilities),
    ...checkBusCapabilities(spec, capabilities),
    ...missingTypes(neededTypes(spec), capabilities),
  ]
}

/** Every image must exist, be of the right kind and fit. Ownership is the engine's to check. */
export function checkImages(spec: VmSpec, images: NormalizeFacts['images']): SpecProblem[] {
  const problems: SpecProblem[] = []
  spec.disks.forEach((drive, index) => {
    if (drive.image === null) return
    const field = `disks.${index}.image`
    const image = images.get(drive.image)
    if (image === undefined) {
      problems.push({ code: 'image_missing', field, message: 'There is no such image in the library; choose another.' })
    } else if (drive.device === 'cdrom' && image.kind !== 'iso') {
      problems.push(bad(field, 'That image is a disk, not an ISO; add it as a disk.'))
    } else if (drive.device === 'disk' && image.kind !== 'disk') {
      problems.push(bad(field, 'That image is an ISO; a disk needs a disk image. Add it as a CD drive.'))
    } else if (drive.device === 'disk' && drive.sizeGiB < ceilGiB(image.virtualSizeBytes)) {
      problems.push(bad(`disks.${index}.sizeGiB`, `The image needs at least ${ceilGiB(image.virtualSizeBytes)} GiB.`))
    }
  })
  return problems
}
