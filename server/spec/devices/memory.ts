/**
 * Memory of the guest and what can be plugged in. Sources: QEMU docs `system/invocation` (-m, -overcommit), `qapi/qom.json`
 * (MemoryBackendMemfdProperties), `hw/mem/pc-dimm.c`, `hw/virtio/virtio-mem.c`.
 */
import type { Dimm, VmSpec } from '#lib/schema/vm-spec.ts'
import { MIB } from '#lib/units.ts'
import { slotPlace } from '../bus.ts'
import { QEMU_IDS } from '../ids.ts'
import { type Json, jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedCommand, PlannedOption } from '../types.ts'
import { needsSharedMemory } from './shares.ts'

/** Slots for DIMMs, the same for every VM with room for memory, so that one more DIMM never changes the machine. */
const DIMM_SLOTS = 16

export const HUGE_PAGE_MIB = { '2M': 2, '1G': 1024 } as const

/**
 * Memory of the guest as QEMU's object, for `-object` and `object-add`.
 * @param hostNodes NUMA nodes of the host it is taken from; null: wherever
 */
export function memoryBackend(
  spec: Pick<VmSpec, 'shares' | 'hugePages'>,
  about: { readonly id: string; readonly sizeMiB: number; readonly hostNodes?: readonly number[] | null },
): { readonly [key: string]: Json } {
  return {
    'qom-type': 'memory-backend-memfd',
    id: about.id,
    size: about.sizeMiB * MIB,
    share: needsSharedMemory(spec),
    ...(spec.hugePages === 'none'
      ? {}
      : // Taken at once: with too few pages left the start fails now, not the guest later (SIGBUS).
        { hugetlb: true, hugetlbsize: HUGE_PAGE_MIB[spec.hugePages] * MIB, prealloc: true }),
    ...(about.hostNodes === undefined || about.hostNodes === null
      ? {}
      : { 'host-nodes': about.hostNodes, policy: 'bind' }),
  }
}

export function memoryOptions({ spec }: CompileInput): PlannedOption[] {
  const group = 'memory'
  const max = spec.memoryMaxMiB
  const isHuge = spec.hugePages !== 'none'
  return [
    option(['-m', max === null ? `${spec.memoryMiB}M` : `size=${spec.memoryMiB}M,slots=${DIMM_SLOTS},maxmem=${max}M`], {
      group,
      what:
        max === null
          ? `${spec.memoryMiB} MiB of memory.`
          : `${spec.memoryMiB} MiB of memory, and room for ${max - spec.memoryMiB} MiB more that can be plugged in while the guest runs.`,
      why: isHuge
        ? 'Taken from the host at once, as huge pages must be.'
        : 'Taken from the host as the guest touches it, not at once.',
      origin: 'choice',
      field: '/memoryMiB',
    }),
    ...(spec.numa.length > 0
      ? []
      : [
          jsonOption('-object', memoryBackend(spec, { id: QEMU_IDS.memory, sizeMiB: spec.memoryMiB }), {
            group,
            what: backendWords(spec),
            why: backendReason(spec),
            origin: isHuge ? 'choice' : 'plumbing',
            field: isHuge ? '/hugePages' : '/memoryMiB',
          }),
        ]),
    option(['-overcommit', 'mem-lock=off'], {
      group,
      what: 'Allows the host to swap out memory the guest does not use.',
      why: 'Locked memory would have to fit all at once.',
      origin: 'default',
    }),
  ]
}

/** What `memoryBackend` makes, as a sentence. */
export function backendWords(spec: Pick<VmSpec, 'shares' | 'hugePages'>): string {
  const file = spec.hugePages === 'none' ? 'an anonymous file' : `an anonymous file of ${spec.hugePages}B pages`
  return needsSharedMemory(spec)
    ? `Keeps the memory in ${file} of the kernel, which the file servers of shared folders map too.`
    : `Keeps the memory in ${file} of the kernel, private to this process.`
}

export function backendReason(spec: Pick<VmSpec, 'shares' | 'hugePages'>): string {
  const safe = needsSharedMemory(spec)
    ? 'Never written to a disk file; virtiofs reads and writes files straight from and to the memory of the guest.'
    : 'Never written to a disk file; other processes cannot map it.'
  return spec.hugePages === 'none'
    ? safe
    : `${safe} Huge pages save the CPU many look-ups of addresses, and are held whether the guest uses them or not.`
}

/** Backend of a DIMM as QEMU's object id. */
const dimmBackendId = (id: string): string => `${id}.ram`

/** A DIMM's object and device. */
function dimmParts(
  spec: Pick<VmSpec, 'shares' | 'hugePages'>,
  dimm: Dimm,
): { readonly backend: { readonly [key: string]: Json }; readonly device: { readonly [key: string]: Json } } {
  return {
    backend: memoryBackend(spec, { id: dimmBackendId(dimm.id), sizeMiB: dimm.sizeMiB }),
    device: { driver: 'pc-dimm', id: dimm.id, memdev: dimmBackendId(dimm.id) },
  }
}

export function dimmOptions({ spec }: CompileInput): PlannedOption[] {
  return spec.dimms.flatMap((dimm, index) => {
    const { backend, device } = dimmParts(spec, dimm)
    const field = `/dimms/${index}`
    return [
      jsonOption('-object', backend, {
        group: dimm.id,
        what: backendWords(spec),
        why: backendReason(spec),
        origin: 'plumbing',
        field,
      }),
      jsonOption('-device', device, {
        group: dimm.id,
        what: `A memory module of ${dimm.sizeMiB} MiB.`,
        why: 'Every system that knows memory hotplug takes it; it can be pulled out again once the guest has moved everything off it.',
        origin: 'choice',
        field,
      }),
    ]
  })
}

/** Steps in which virtio-mem gives and takes memory, MiB. */
export const virtioMemBlockMiB = (spec: Pick<VmSpec, 'hugePages'>): number =>
  spec.hugePages === 'none' ? 2 : HUGE_PAGE_MIB[spec.hugePages]

/**
 * The device takes memory block by block and gives it back; none is promised before. Holes in a private file would be
 * holes for whoever else maps it, so memory of its own is anonymous and a file's is shared (`ram_block_discard_range`).
 */
function virtioMemBackend(spec: VmSpec, sizeMiB: number): { readonly [key: string]: Json } {
  const id = QEMU_IDS.virtioMemBackend
  if (spec.hugePages === 'none' && !needsSharedMemory(spec))
    return { 'qom-type': 'memory-backend-ram', id, size: sizeMiB * MIB, reserve: false }
  const { prealloc: _, ...backend } = memoryBackend(spec, { id, sizeMiB })
  return { ...backend, share: true, reserve: false }
}

export function virtioMemOptions({ spec }: CompileInput): PlannedOption[] {
  const memory = spec.virtioMem
  if (memory === null) return []
  const group = 'virtiomem'
  const field = '/virtioMem'
  const isHuge = spec.hugePages !== 'none'
  return [
    jsonOption('-object', virtioMemBackend(spec, memory.sizeMiB), {
      group,
      what: `Address space for ${memory.sizeMiB} MiB, of which nothing is taken yet.`,
      why: 'The device below takes memory of the host block by block as it is asked to, and gives it back.',
      origin: 'plumbing',
      field,
    }),
    jsonOption(
      '-device',
      {
        driver: 'virtio-mem-pci',
        id: QEMU_IDS.virtioMem,
        ...slotPlace(spec, 'virtioMem'),
        memdev: QEMU_IDS.virtioMemBackend,
        'requested-size': memory.requestedMiB * MIB,
        'block-size': virtioMemBlockMiB(spec) * MIB,
        node: 0,
        ...(isHuge ? { prealloc: true } : {}),
      },
      {
        group,
        what: `A virtio device with up to ${memory.sizeMiB} MiB of memory; the guest is asked to use ${memory.requestedMiB} MiB of it now.`,
        why: 'Memory that grows and shrinks in small steps while the guest runs. Linux has the driver since 5.8; Windows takes it from the virtio driver CD.',
        origin: 'choice',
        field,
      },
    ),
  ]
}

/** `balloon` before the guest executes: its driver finds the target when it starts. */
export function balloonCommands({ spec }: CompileInput): PlannedCommand[] {
  if (!spec.balloon || spec.balloonTargetMiB === null) return []
  return [
    {
      execute: 'balloon',
      arguments: { value: spec.balloonTargetMiB * MIB },
      what: `Asks the guest to leave all but ${spec.balloonTargetMiB} MiB of its memory to the host.`,
      field: '/balloonTargetMiB',
    },
  ]
}
