/** What the chosen screen can be told. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { familyOf } from '../bus.ts'
import { cardTraits, displayDriver } from '../devices/display.ts'
import { isOlderThan } from './machine.ts'
import { bad, type NeededType, type SpecProblem } from './problem.ts'

/** QEMU's hw/display: virtio-gpu-base.c (VIRTIO_GPU_MAX_SCANOUTS), qxl.c (heads of its ROM). */
const MAX_HEADS = { virtio: 16, qxl: 4 } as const
/** vga.c and bochs-display.c take up to 256 MiB; qxl's other memories are made four times as large. */
const MAX_MEMORY_MIB = { vga: 256, qxl: 64, virtio: 512 } as const

/** bochs-display.c: 'video memory too small' below. */
const BOCHS_MIN_MIB = 4

const isVirtio = (display: VmSpec['display']) => display === 'virtio-vga' || display === 'virtio-gpu'

export function checkDisplay(spec: VmSpec): SpecProblem[] {
  const { display, displayHeads, displayResolution, displayMemoryMiB } = spec
  if (display === 'none') {
    const set = [
      ...(displayHeads > 1 ? ['displayHeads'] : []),
      ...(displayResolution !== null ? ['displayResolution'] : []),
      ...(displayMemoryMiB !== null ? ['displayMemoryMiB'] : []),
    ]
    return set.map((field) => bad(field, 'There is no display to set this for; choose a display first.'))
  }
  const problems: SpecProblem[] = []
  const traits = cardTraits(display)
  if (familyOf(spec.machine) === 'microvm' && display !== 'virtio-gpu' && display !== 'ramfb')
    problems.push(bad('display', 'microvm has no PCI bus for this card; choose “virtio-gpu”, “ramfb” or none.'))
  // The firmware's way to tell where it draws came with that version (hw_compat_2_4 in hw/core/machine.c).
  if (display === 'ramfb' && isOlderThan(spec.machine, 2, 5))
    problems.push(bad('display', `${spec.machine} is too old for ramfb; choose another card, or a newer machine.`))
  if (displayHeads > 1) {
    const most = isVirtio(display) ? MAX_HEADS.virtio : display === 'qxl' ? MAX_HEADS.qxl : 1
    if (!traits.heads)
      problems.push(bad('displayHeads', 'This card has one output; several need virtio-vga, virtio-gpu or qxl.'))
    else if (displayHeads > most) problems.push(bad('displayHeads', `This card has at most ${most} outputs.`))
  }
  if (displayResolution !== null && !traits.resolution)
    problems.push(
      bad('displayResolution', 'The firmware sets up ramfb with a size of its own; choose another card to set it.'),
    )
  if (displayMemoryMiB !== null) problems.push(...checkMemory(display, displayMemoryMiB, displayResolution))
  return problems
}

function checkMemory(
  display: Exclude<VmSpec['display'], 'none'>,
  mebibytes: number,
  resolution: VmSpec['displayResolution'],
): SpecProblem[] {
  const field = 'displayMemoryMiB'
  if (!cardTraits(display).memory)
    return [bad(field, 'ramfb takes its memory from the guest; it has none of its own to set.')]
  const most = isVirtio(display) ? MAX_MEMORY_MIB.virtio : display === 'qxl' ? MAX_MEMORY_MIB.qxl : MAX_MEMORY_MIB.vga
  if (mebibytes > most) return [bad(field, `This card takes at most ${most} MiB.`)]
  if (display === 'bochs' && mebibytes < BOCHS_MIN_MIB)
    return [bad(field, `This card has at least ${BOCHS_MIN_MIB} MiB.`)]
  // QEMU rounds up to one; what is said here is what the guest gets.
  if (!isVirtio(display) && (mebibytes & (mebibytes - 1)) !== 0)
    return [bad(field, 'The memory of this card is a power of two: 1, 2, 4, 8, 16 …')]
  const needed = resolution === null ? 0 : Math.ceil((resolution.width * resolution.height * 4) / 2 ** 20)
  if (needed > mebibytes)
    return [bad(field, `A screen of ${resolution?.width} × ${resolution?.height} needs ${needed} MiB.`)]
  return []
}

export function displayTypes(spec: VmSpec): NeededType[] {
  const driver = displayDriver(spec)
  return driver === null ? [] : [[driver, 'display']]
}
