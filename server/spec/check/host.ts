/** What a launch asks of this host beyond QEMU: programs, CPUs, nodes, huge pages. Facts that are unknown refuse nothing. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { HUGE_PAGE_MIB } from '../devices/memory.ts'
import { numberListText, parseNumberList } from '../number-list.ts'
import type { CompileInput } from '../types.ts'
import { bad, type SpecProblem } from './problem.ts'

/** QEMU's address limit under TCG is 40 bits, of which the top belongs to the PCI hole and to AMD's HyperTransport. */
const TCG_MAX_MIB = 900 * 1024

export function checkHost(input: CompileInput): SpecProblem[] {
  return [...checkTpm(input), ...checkTcgMemory(input), ...checkPins(input), ...checkNodes(input), ...checkPools(input)]
}

function checkTpm({ spec, tools, paths }: CompileInput): SpecProblem[] {
  if (spec.tpm === 'none') return []
  if (tools.swtpm === null)
    return [
      bad(
        'tpm',
        'swtpm, the program that plays the TPM chip, is not installed on the host; install it (package swtpm) or do without.',
      ),
    ]
  // Its options are split at commas, with no way to write one.
  return `${paths.data}${paths.dir}`.includes(',')
    ? [
        bad(
          'tpm',
          'swtpm cannot work in a directory with a comma in its name; move the data and run directories of the dashboard.',
        ),
      ]
    : []
}

function checkTcgMemory({ spec, accelerator }: CompileInput): SpecProblem[] {
  if (accelerator.kind !== 'tcg') return []
  const field = spec.memoryMaxMiB === null ? 'memoryMiB' : 'memoryMaxMiB'
  return Math.max(spec.memoryMiB, spec.memoryMaxMiB ?? 0) > TCG_MAX_MIB
    ? [bad(field, `Under TCG the addresses of a guest end at ${TCG_MAX_MIB / 1024} GiB.`)]
    : []
}

/** The numbers of `list` that are not among `known`; none when those are unknown. */
const strangers = (list: string, known: readonly number[] | undefined): readonly number[] =>
  known === undefined ? [] : (parseNumberList(list) ?? []).filter((n) => !known.includes(n))

function checkPins({ spec, host }: CompileInput): SpecProblem[] {
  return spec.pinning.flatMap(({ hostCpus }, n) => {
    const missing = strangers(hostCpus, host.cpus)
    return missing.length === 0
      ? []
      : [
          bad(
            `pinning.${n}.hostCpus`,
            `This host has no CPU ${numberListText(missing)}; it has ${numberListText(host.cpus ?? [])}.`,
          ),
        ]
  })
}

function checkNodes({ spec, host }: CompileInput): SpecProblem[] {
  return spec.numa.flatMap(({ hostNodes }, n) => {
    const missing = hostNodes === null ? [] : strangers(hostNodes, host.memoryNodes)
    return missing.length === 0
      ? []
      : [
          bad(
            `numa.${n}.hostNodes`,
            `This host has no memory node ${numberListText(missing)}; it has ${numberListText(host.memoryNodes ?? [])}.`,
          ),
        ]
  })
}

/** Huge pages the definition takes at power-on. */
export function hugePagesNeeded(spec: VmSpec): number {
  if (spec.hugePages === 'none') return 0
  const plugged = spec.dimms.reduce((total, dimm) => total + dimm.sizeMiB, 0) + (spec.virtioMem?.requestedMiB ?? 0)
  return Math.ceil((spec.memoryMiB + plugged) / HUGE_PAGE_MIB[spec.hugePages])
}

function checkPools({ spec, host }: CompileInput): SpecProblem[] {
  if (spec.hugePages === 'none' || host.hugePages === undefined) return []
  const pool = host.hugePages[spec.hugePages]
  const size = `${spec.hugePages}B`
  if (pool === null) return [bad('hugePages', `The kernel of this host has no pool of ${size} pages; do without.`)]
  const needed = hugePagesNeeded(spec)
  return needed > pool.total
    ? [
        bad(
          'hugePages',
          `The guest needs ${needed} pages of ${size} and the host's pool has ${pool.total}. Enlarge it (write the number to /sys/kernel/mm/hugepages/hugepages-${HUGE_PAGE_MIB[spec.hugePages] * 1024}kB/nr_hugepages) or do without.`,
        ),
      ]
    : []
}
