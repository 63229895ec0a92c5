/** Memory: sums, steps and limits. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { HUGE_PAGE_MIB, virtioMemBlockMiB } from '../devices/memory.ts'
import { parseNumberList } from '../number-list.ts'
import { bad, missingTypes, type NeededType, type SpecProblem } from './problem.ts'

export function checkMemory(spec: VmSpec): SpecProblem[] {
  return [
    ...checkRoom(spec),
    ...checkVirtioMem(spec),
    ...checkHugePages(spec),
    ...checkBalloon(spec),
    ...checkNuma(spec),
  ]
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)

/** Memory that is or may be plugged besides `memoryMiB`, MiB. */
const pluggedMiB = (spec: VmSpec): number =>
  sum(spec.dimms.map((dimm) => dimm.sizeMiB)) + (spec.virtioMem?.sizeMiB ?? 0)

function checkRoom(spec: VmSpec): SpecProblem[] {
  const max = spec.memoryMaxMiB
  const field = spec.dimms.length > 0 ? 'dimms' : 'virtioMem'
  if (max === null)
    return pluggedMiB(spec) > 0
      ? [bad(field, 'Memory modules need room: set the maximum (memoryMaxMiB) to at least the sum of all memory.')]
      : []
  if (max <= spec.memoryMiB)
    return [
      bad(
        'memoryMaxMiB',
        `The maximum must be more than the ${spec.memoryMiB} MiB the guest starts with; or leave it out.`,
      ),
    ]
  const needed = spec.memoryMiB + pluggedMiB(spec)
  return needed > max
    ? [bad('memoryMaxMiB', `All memory together is ${needed} MiB, more than the maximum of ${max} MiB.`)]
    : []
}

function checkVirtioMem(spec: VmSpec): SpecProblem[] {
  const memory = spec.virtioMem
  if (memory === null) return []
  const problems: SpecProblem[] = []
  const step = virtioMemBlockMiB(spec)
  if (memory.requestedMiB > memory.sizeMiB)
    problems.push(bad('virtioMem.requestedMiB', `The device has ${memory.sizeMiB} MiB; it cannot give more.`))
  else if (memory.requestedMiB % step !== 0)
    problems.push(bad('virtioMem.requestedMiB', `Memory moves in steps of ${step} MiB.`))
  if (memory.sizeMiB % step !== 0) problems.push(bad('virtioMem.sizeMiB', `Memory comes in steps of ${step} MiB.`))
  return problems
}

function checkHugePages(spec: VmSpec): SpecProblem[] {
  if (spec.hugePages === 'none') return []
  const page = HUGE_PAGE_MIB[spec.hugePages]
  const message = `With huge pages of ${spec.hugePages}B memory comes in steps of ${page} MiB.`
  return [
    { field: 'memoryMiB', sizeMiB: spec.memoryMiB },
    ...spec.dimms.map((dimm, n) => ({ field: `dimms.${n}.sizeMiB`, sizeMiB: dimm.sizeMiB })),
    ...spec.numa.map((node, n) => ({ field: `numa.${n}.memoryMiB`, sizeMiB: node.memoryMiB })),
  ].flatMap(({ field, sizeMiB }) => (sizeMiB % page === 0 ? [] : [bad(field, message)]))
}

function checkBalloon(spec: VmSpec): SpecProblem[] {
  if (spec.balloonTargetMiB === null) return []
  if (!spec.balloon)
    return [
      bad(
        'balloonTargetMiB',
        'Without the balloon the guest gives no memory back; switch it on or leave the target out.',
      ),
    ]
  const all = spec.memoryMiB + sum(spec.dimms.map((dimm) => dimm.sizeMiB))
  return spec.balloonTargetMiB > all
    ? [bad('balloonTargetMiB', `The guest has ${all} MiB; the balloon cannot leave it more.`)]
    : []
}

function checkNuma(spec: VmSpec): SpecProblem[] {
  if (spec.numa.length === 0) return []
  const problems: SpecProblem[] = []
  const owner = new Map<number, number>()
  spec.numa.forEach((node, n) => {
    const at = `numa.${n}`
    const cpus = parseNumberList(node.cpus)
    if (cpus === null)
      problems.push(bad(`${at}.cpus`, `“${node.cpus}” is no list of numbers and ranges such as 0-3,8.`))
    for (const cpu of cpus ?? []) {
      const other = owner.get(cpu)
      if (cpu >= spec.maxCpus) {
        problems.push(
          bad(`${at}.cpus`, `There is no virtual CPU ${cpu}: they are numbered from 0 to ${spec.maxCpus - 1}.`),
        )
        break
      }
      if (other !== undefined) {
        problems.push(bad(`${at}.cpus`, `Virtual CPU ${cpu} is in node ${other} already.`))
        break
      }
      owner.set(cpu, n)
    }
    if (node.hostNodes !== null && parseNumberList(node.hostNodes) === null)
      problems.push(bad(`${at}.hostNodes`, `“${node.hostNodes}” is no list of numbers and ranges such as 0-3,8.`))
  })
  if (problems.length === 0 && owner.size !== spec.maxCpus) {
    const missing = Array.from({ length: spec.maxCpus }, (_, cpu) => cpu).find((cpu) => !owner.has(cpu))
    problems.push(bad('numa', `Every virtual CPU belongs to a node; ${missing} is in none.`))
  }
  const total = sum(spec.numa.map((node) => node.memoryMiB))
  if (total !== spec.memoryMiB)
    problems.push(
      bad('numa', `The nodes have ${total} MiB together; it must be the ${spec.memoryMiB} MiB of the guest.`),
    )
  return problems
}

export function checkMemoryCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  const problems: SpecProblem[] = []
  const needed: NeededType[] = []
  if (spec.virtioMem !== null) needed.push(['virtio-mem-pci', 'virtioMem'])
  if (spec.dimms.length > 0) needed.push(['pc-dimm', 'dimms'])
  const backend = capabilities.deviceProperties['memory-backend-memfd']
  if (spec.hugePages !== 'none' && backend !== undefined && !backend.some((property) => property.name === 'hugetlb'))
    problems.push(bad('hugePages', `QEMU ${capabilities.version} on this host was built without huge pages.`))
  return [...problems, ...missingTypes(needed, capabilities)]
}
