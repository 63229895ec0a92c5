/** NUMA: memory and CPUs that belong together. Sources: QEMU docs `system/invocation` (-numa), `hw/core/numa.c`. */
import { parseNumberList, rangesOf } from '../number-list.ts'
import { jsonOption, option } from '../option.ts'
import type { CompileInput, PlannedOption } from '../types.ts'
import { backendReason, backendWords, memoryBackend } from './memory.ts'

export function numaOptions({ spec }: CompileInput): PlannedOption[] {
  return spec.numa.flatMap((node, n) => {
    const group = 'numa'
    const field = `/numa/${n}`
    const memory = `ram${n}`
    const hostNodes = node.hostNodes === null ? null : parseNumberList(node.hostNodes)
    const cpus = rangesOf(parseNumberList(node.cpus) ?? [])
    return [
      jsonOption('-object', memoryBackend(spec, { id: memory, sizeMiB: node.memoryMiB, hostNodes }), {
        group,
        what: `${backendWords(spec)}${node.hostNodes === null ? '' : ` Taken from node ${node.hostNodes} of the host only.`}`,
        why: backendReason(spec),
        origin: node.hostNodes === null ? 'plumbing' : 'choice',
        field: node.hostNodes === null ? `${field}/memoryMiB` : `${field}/hostNodes`,
      }),
      option(
        ['-numa', ['node', `nodeid=${n}`, ...cpus.map((range) => `cpus=${range}`), `memdev=${memory}`].join(',')],
        {
          group,
          what: `Node ${n} of the guest: ${node.memoryMiB} MiB of memory near to the virtual CPUs ${node.cpus}.`,
          why: 'The guest keeps programs and their memory on one node when it knows that another is farther away.',
          origin: 'choice',
          field,
        },
      ),
    ]
  })
}
