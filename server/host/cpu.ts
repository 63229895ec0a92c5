/** /proc/cpuinfo, reduced to what is shown and judged. Pure. */
export interface CpuFacts {
  readonly vendor: string
  readonly model: string
  /** Logical processors. */
  readonly count: number
  readonly vmx: boolean
  readonly svm: boolean
  readonly hypervisor: boolean
}

/** @param text the content of /proc/cpuinfo; an empty one gives empty facts */
export function readCpu(text: string): CpuFacts {
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(text)?.[1]?.trim() ?? ''
  const flags = new Set(field('flags').split(/\s+/))
  return {
    vendor: vendorName(field('vendor_id')),
    model: field('model name'),
    count: text.match(/^processor\s*:/gm)?.length ?? 0,
    vmx: flags.has('vmx'),
    svm: flags.has('svm'),
    hypervisor: flags.has('hypervisor'),
  }
}

function vendorName(id: string): string {
  return { GenuineIntel: 'Intel', AuthenticAMD: 'AMD', HygonGenuine: 'Hygon', CentaurHauls: 'Zhaoxin' }[id] ?? id
}
