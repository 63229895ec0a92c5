/** Huge pages, NUMA nodes and logical processors of the host. */
import type { HostCpu, HugePages, NumaNode } from '#lib/schema/host-devices.ts'
import { parseList, type Tree } from './tree.ts'

const NODES = 'sys/devices/system/node'
const CPUS = 'sys/devices/system/cpu'

function nodeNumbers(tree: Tree): number[] {
  return tree
    .list(NODES)
    .map((name) => /^node(\d+)$/.exec(name)?.[1])
    .filter((text) => text !== undefined)
    .map(Number)
}

/** Smallest pages first; sizes the kernel has no pool for are absent. */
export function readHugePages(tree: Tree): HugePages[] {
  const nodes = nodeNumbers(tree)
  return tree
    .list('sys/kernel/mm/hugepages')
    .flatMap((name) => {
      const sizeKiB = /^hugepages-(\d+)kB$/.exec(name)?.[1]
      if (sizeKiB === undefined) return []
      const pool = (dir: string) => ({
        total: tree.int(`${dir}/${name}/nr_hugepages`) ?? 0,
        free: tree.int(`${dir}/${name}/free_hugepages`) ?? 0,
      })
      return [
        {
          sizeKiB: Number(sizeKiB),
          ...pool('sys/kernel/mm/hugepages'),
          nodes: nodes
            .filter((node) => tree.exists(`${NODES}/node${node}/hugepages/${name}`))
            .map((node) => ({ node, ...pool(`${NODES}/node${node}/hugepages`) })),
        },
      ]
    })
    .sort((a, b) => a.sizeKiB - b.sizeKiB)
}

export function readNuma(tree: Tree): NumaNode[] {
  return nodeNumbers(tree).map((node) => {
    const dir = `${NODES}/node${node}`
    const meminfo = tree.text(`${dir}/meminfo`) ?? ''
    const mib = (name: string) =>
      Math.round(Number(new RegExp(`\\b${name}:\\s+(\\d+) kB`).exec(meminfo)?.[1] ?? 0) / 1024)
    return {
      node,
      cpus: parseList(tree.text(`${dir}/cpulist`)),
      memoryMiB: mib('MemTotal'),
      freeMiB: mib('MemFree'),
      distances: (tree.text(`${dir}/distance`) ?? '')
        .split(/\s+/)
        .filter((text) => text !== '')
        .map(Number),
    }
  })
}

/** Present processors, the offline among them. */
export function readCpus(tree: Tree): HostCpu[] {
  const online = new Set(parseList(tree.text(`${CPUS}/online`)))
  const isolated = new Set(parseList(tree.text(`${CPUS}/isolated`)))
  const homes = new Map(nodeNumbers(tree).flatMap((node) => nodeCpus(tree, node)))
  return parseList(tree.text(`${CPUS}/present`)).map((cpu) => {
    const topology = `${CPUS}/cpu${cpu}/topology`
    const threads = parseList(tree.text(`${topology}/thread_siblings_list`))
    return {
      cpu,
      online: online.has(cpu),
      socket: tree.int(`${topology}/physical_package_id`),
      core: tree.int(`${topology}/core_id`),
      threads: threads.length === 0 ? [cpu] : threads,
      node: homes.get(cpu) ?? null,
      isolated: isolated.has(cpu),
    }
  })
}

function nodeCpus(tree: Tree, node: number): [number, number][] {
  return parseList(tree.text(`${NODES}/node${node}/cpulist`)).map((cpu) => [cpu, node])
}
