/** The readiness list: what Guestdeck finds on this host, what is missing, and the command that mends it. Pure. */
import type { AcceleratorVerdict, ReadinessItem } from '#lib/schema/host.ts'
import type { HostDevices, KernelDevice } from '#lib/schema/host-devices.ts'
import { installCommand, type Need, type PackageManager, packagesFor } from './packages.ts'

/** One program or file as it was found. */
export type Finding =
  | { readonly state: 'ok'; readonly version: string | null; readonly detail: string }
  | { readonly state: 'missing' | 'broken' | 'unknown'; readonly detail: string }

export interface ReadinessFacts {
  readonly manager: PackageManager | null
  readonly isRoot: boolean
  readonly qemu: Finding
  readonly qemuImg: Finding
  /** Firmware from the distribution's package. */
  readonly ovmf: Finding
  /** Firmware that came with QEMU itself. */
  readonly bundledFirmware: Finding
  readonly swtpm: Finding
  readonly bubblewrap: Finding
  readonly unshare: Finding
  readonly setpriv: Finding
  readonly prlimit: Finding
  readonly virtiofsd: Finding
  readonly ip: Finding
  /** virt-sysprep with what it needs, and a command that mends it where that is no package. */
  readonly guestfs: Finding & { readonly command?: string | null }
  /** Device nodes of the kernel. */
  readonly kernel: readonly KernelDevice[]
  readonly iommu: HostDevices['iommu']
  readonly verdict: AcceleratorVerdict
  /** Null: not known. */
  readonly controlGroups?: { readonly state: 'ok' | 'broken' | 'missing'; readonly detail: string } | null
}

export interface Readiness {
  readonly items: ReadinessItem[]
  /** Installs everything that is missing, at once; null when nothing is. */
  readonly installCommand: string | null
}

interface Line {
  readonly id: string
  readonly title: string
  readonly purpose: string
  readonly need: ReadinessItem['need']
  readonly group?: string
  readonly finding: Finding
  /** Null when no package is sure to bring it. */
  readonly brings: Need | null
  /** What mends it where that is no package. */
  readonly command?: string | null
}

/** In the order they are shown: required, then optional, then the groups of which one is enough. */
export function listReadiness(facts: ReadinessFacts): Readiness {
  const { manager, isRoot } = facts
  const lines = [...programLines(facts), ...deviceLines(facts)]
  const items = lines.map((line) => toItem(line, manager, isRoot))
  // After the required programs: what a missing one breaks is listed first.
  items.splice(2, 0, kvmItem(facts))
  return { items, installCommand: installCommand(manager, wantedPackages(lines, manager), isRoot) }
}

function programLines(facts: ReadinessFacts): readonly Line[] {
  return [
    {
      id: 'qemu',
      title: 'QEMU system emulator',
      purpose: 'Runs the virtual machines.',
      need: 'required',
      finding: facts.qemu,
      brings: 'qemu',
    },
    {
      id: 'qemu-img',
      title: 'qemu-img',
      purpose: 'Creates and inspects disk images.',
      need: 'required',
      finding: facts.qemuImg,
      brings: 'qemu-img',
    },
    {
      id: 'swtpm',
      title: 'Software TPM (swtpm)',
      purpose: 'Gives a guest a TPM 2.0, which Windows 11 asks for.',
      need: 'optional',
      finding: facts.swtpm,
      brings: 'swtpm',
    },
    {
      id: 'virtiofsd',
      title: 'virtiofsd',
      purpose: 'Shares folders of this host with a guest, fast (virtiofs).',
      need: 'optional',
      finding: facts.virtiofsd,
      // Up to Debian 12 it comes with QEMU and there is no package of its own: only a host that has QEMU without it has one.
      brings: facts.qemu.state === 'ok' ? 'virtiofsd' : null,
    },
    {
      id: 'ip',
      title: 'ip (iproute2)',
      purpose: 'Connects guests to a bridge of this host.',
      need: 'optional',
      finding: facts.ip,
      brings: 'iproute',
    },
    {
      id: 'guestfs',
      title: 'libguestfs',
      purpose:
        'Cleans up inside the disks of clones (machine ID, SSH host keys, host name), and opens XFS, Btrfs, NTFS and LVM where files of disks are looked at.',
      need: 'optional',
      finding: facts.guestfs,
      // What it needs besides comes with no package that is sure to be the right one: the host may be a container.
      brings: facts.guestfs.state === 'missing' ? 'guestfs' : null,
      ...(facts.guestfs.command != null && { command: `${facts.isRoot ? '' : 'sudo '}${facts.guestfs.command}` }),
    },
    {
      id: 'setpriv',
      title: 'setpriv',
      purpose: 'Starts each QEMU without privileges, under a user of its own where the dashboard is root.',
      need: 'optional',
      finding: facts.setpriv,
      brings: 'util-linux',
    },
    {
      id: 'prlimit',
      title: 'prlimit',
      purpose: 'Limits open files and core dumps of each QEMU, and time and memory of image tools.',
      need: 'optional',
      finding: facts.prlimit,
      brings: 'util-linux',
    },
    {
      id: 'ovmf',
      title: 'UEFI firmware of the distribution (OVMF)',
      purpose: 'Lets guests start by UEFI. BIOS guests need none.',
      need: 'pick-one',
      group: 'firmware',
      finding: facts.ovmf,
      brings: 'ovmf',
    },
    {
      id: 'bundled-firmware',
      title: "QEMU's own UEFI build (edk2)",
      purpose: 'The same, from builds of QEMU that carry it themselves.',
      need: 'pick-one',
      group: 'firmware',
      finding: facts.bundledFirmware,
      brings: null,
    },
    {
      id: 'bubblewrap',
      title: 'bubblewrap',
      purpose: 'Shuts image tools away from the files of the host while they read uploaded images.',
      need: 'pick-one',
      group: 'sandbox',
      finding: facts.bubblewrap,
      brings: 'bubblewrap',
    },
    {
      id: 'unshare',
      title: 'unshare',
      purpose: 'A weaker substitute for bubblewrap: takes away the network and privileges, not the files.',
      need: 'pick-one',
      group: 'sandbox',
      finding: facts.unshare,
      brings: 'util-linux',
    },
  ]
}

/** What the kernel and the hardware give. */
function deviceLines({ kernel, iommu, controlGroups = null }: ReadinessFacts): readonly Line[] {
  const nodes = (
    [
      ['vhost-net', 'Fast packets for cards on a bridge (vhost-net)'],
      ['vhost-vsock', 'Sockets between host and guest (vsock)'],
    ] as const
  ).flatMap(([id, title]): Line[] => {
    const node = kernel.find((candidate) => candidate.id === id)
    if (node === undefined) return []
    const state = node.opens ? 'ok' : node.present ? 'broken' : 'missing'
    const finding: Finding =
      state === 'ok' ? { state, version: null, detail: node.detail } : { state, detail: node.detail }
    return [{ id, title, purpose: node.purpose, need: 'optional', finding, brings: null, command: node.command }]
  })
  const finding: Finding = iommu.enabled
    ? { state: 'ok', version: null, detail: iommu.reason }
    : { state: 'missing', detail: iommu.reason }
  const groups: Line[] =
    controlGroups === null
      ? []
      : [
          {
            id: 'cgroups',
            title: 'Control groups (cgroup v2)',
            purpose: 'Share processors and disks among guests by weight, and stop a guest at its limits.',
            need: 'optional',
            finding:
              controlGroups.state === 'ok'
                ? { state: 'ok', version: null, detail: controlGroups.detail }
                : { state: controlGroups.state, detail: controlGroups.detail },
            brings: null,
          },
        ]
  return [
    ...nodes,
    ...groups,
    {
      id: 'iommu',
      title: 'IOMMU (VT-d, AMD-Vi)',
      purpose: 'Hands PCI devices of this host to a guest without giving it the memory of everything else.',
      need: 'optional',
      finding,
      brings: null,
    },
  ]
}

function toItem(line: Line, manager: PackageManager | null, isRoot: boolean): ReadinessItem {
  const packages = line.brings === null ? [] : [...packagesFor(manager, line.brings)]
  const { finding } = line
  return {
    id: line.id,
    title: line.title,
    purpose: line.purpose,
    need: line.need,
    group: line.group ?? null,
    state: finding.state,
    version: finding.state === 'ok' ? finding.version : null,
    detail: finding.detail,
    packages,
    command: finding.state === 'ok' ? null : (line.command ?? installCommand(manager, packages, isRoot)),
  }
}

/** Of a group the first choice counts, and only while nothing of the group is there. */
function wantedPackages(lines: readonly Line[], manager: PackageManager | null): string[] {
  const satisfied = new Set(lines.filter((line) => line.finding.state === 'ok').map((line) => line.group))
  const asked = new Set<string>()
  const wanted: string[] = []
  for (const line of lines) {
    if (line.finding.state !== 'missing' || line.brings === null) continue
    if (line.group !== undefined) {
      if (satisfied.has(line.group) || asked.has(line.group)) continue
      asked.add(line.group)
    }
    wanted.push(...packagesFor(manager, line.brings))
  }
  return wanted
}

function kvmItem({ verdict, isRoot }: ReadinessFacts): ReadinessItem {
  const state = { usable: 'ok', unusable: 'broken', absent: 'missing', denied: 'broken' } as const
  const failed = verdict.evidence.find((step) => step.state === 'failed' && isDecisive(step.id, verdict.kvm))
  return {
    id: 'kvm',
    title: 'Hardware acceleration (KVM)',
    purpose: 'Runs guest code on the CPU itself. Without it everything works, many times slower.',
    need: 'optional',
    group: null,
    state: state[verdict.kvm],
    version: null,
    detail: [verdict.summary, failed?.advice ?? ''].filter((text) => text !== '').join(' '),
    packages: [],
    command: verdict.kvm === 'usable' ? null : kvmCommand(verdict, isRoot),
  }
}

function isDecisive(id: string, kvm: AcceleratorVerdict['kvm']): boolean {
  if (kvm === 'unusable') return id === 'guest-code'
  if (kvm === 'denied') return id === 'kvm-permission'
  return true
}

/** Only what is sure to help is offered as a command; the rest is advice in words. */
function kvmCommand(verdict: AcceleratorVerdict, isRoot: boolean): string | null {
  const advice =
    verdict.evidence.find((step) => step.state === 'failed' && isDecisive(step.id, verdict.kvm))?.advice ?? ''
  const command =
    /(modprobe kvm_(?:intel|amd)|usermod -aG \S+ [^\s,]+|chgrp kvm \/dev\/kvm && chmod 660 \/dev\/kvm)/.exec(
      advice,
    )?.[1]
  if (command === undefined) return null
  return isRoot
    ? command
    : command
        .split(' && ')
        .map((part) => `sudo ${part}`)
        .join(' && ')
}
