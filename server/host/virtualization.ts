/** Whether this host is itself a virtual machine or a container: advice differs, because what is missing has to be mended below. */
import { existsSync, readFileSync } from 'node:fs'

export interface Virtualization {
  /** The hypervisor's name as far as it can be told; null on bare metal. */
  readonly vm: string | null
  /** The container technology; null outside of containers. */
  readonly container: string | null
}

/** What is read to find out; empty strings and false for what is not there. */
export interface VirtualizationFacts {
  readonly cpuinfo: string
  readonly dmiVendor: string
  readonly dmiProduct: string
  readonly hypervisorType: string
  readonly containerEnv: string
  readonly hasDockerenv: boolean
  readonly hasContainerenv: boolean
}

const VENDORS: readonly (readonly [RegExp, string])[] = [
  [/QEMU|KVM/i, 'QEMU/KVM'],
  [/VMware/i, 'VMware'],
  [/innotek|VirtualBox/i, 'VirtualBox'],
  [/Microsoft/i, 'Hyper-V'],
  [/Xen/i, 'Xen'],
  [/Amazon EC2/i, 'Amazon EC2'],
  [/Google/i, 'Google Compute Engine'],
  [/DigitalOcean/i, 'DigitalOcean'],
  [/Parallels/i, 'Parallels'],
]

export function judgeVirtualization(facts: VirtualizationFacts): Virtualization {
  return { vm: judgeVm(facts), container: judgeContainer(facts) }
}

function judgeVm(facts: VirtualizationFacts): string | null {
  const isVirtual = /^flags\s*:.*\bhypervisor\b/m.test(facts.cpuinfo) || facts.hypervisorType !== ''
  // Vendors such as Microsoft and Google build real machines too: the CPU's flag decides, the name only names.
  if (!isVirtual) return null
  const text = `${facts.dmiVendor} ${facts.dmiProduct} ${facts.hypervisorType}`
  return VENDORS.find(([pattern]) => pattern.test(text))?.[1] ?? 'unknown hypervisor'
}

function judgeContainer(facts: VirtualizationFacts): string | null {
  if (facts.hasDockerenv) return 'docker'
  if (facts.hasContainerenv) return 'podman'
  return facts.containerEnv === '' ? null : facts.containerEnv
}

export function detectVirtualization(): Virtualization {
  return judgeVirtualization({
    cpuinfo: readText('/proc/cpuinfo'),
    dmiVendor: readText('/sys/class/dmi/id/sys_vendor'),
    dmiProduct: readText('/sys/class/dmi/id/product_name'),
    hypervisorType: readText('/sys/hypervisor/type'),
    containerEnv: readContainerEnv(),
    hasDockerenv: existsSync('/.dockerenv'),
    hasContainerenv: existsSync('/run/.containerenv'),
  })
}

/** systemd-nspawn, LXC and others tell the first process (https://systemd.io/CONTAINER_INTERFACE). Readable by root alone. */
function readContainerEnv(): string {
  return (
    readText('/run/systemd/container') || (/(?:^|\0)container=([^\0]*)/.exec(readText('/proc/1/environ'))?.[1] ?? '')
  )
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
