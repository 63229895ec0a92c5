/** The virtualization stack of this host, layer by layer, for somebody who never heard of one. Pure. */
import type { AcceleratorVerdict, StackLayer } from '#lib/schema/host.ts'

export interface StackFacts {
  readonly cpuModel: string
  readonly kernel: string
  readonly guestdeckVersion: string
  readonly verdict: AcceleratorVerdict
  /** What this host is inside of, in words; null on bare metal. */
  readonly surroundings: string | null
  /** Null when there is none that works. */
  readonly qemu: { readonly version: string; readonly types: readonly string[]; readonly hasUefi: boolean } | null
}

/** From the hardware up. */
export function describeStack(facts: StackFacts): StackLayer[] {
  return [hardware(facts), kvm(facts), qemu(facts), virtio(facts), guestdeck(facts)]
}

function hardware({ cpuModel, verdict, surroundings }: StackFacts): StackLayer {
  const flags = verdict.evidence.find((step) => step.id === 'cpu-flags')
  const where = surroundings === null ? '' : ` This host is itself ${surroundings}.`
  return {
    id: 'hardware',
    title: 'Processor: VT-x or AMD-V',
    state: flags?.state === 'ok' ? 'ok' : 'warning',
    version: null,
    explains:
      'Processors of the last fifteen years can run a second operating system beside the first and keep the two apart. Intel calls this VT-x, AMD calls it AMD-V. It is often switched off in the firmware setup.',
    detail: `${cpuModel}. ${flags?.seen ?? ''}${where}`,
  }
}

function kvm({ verdict, kernel }: StackFacts): StackLayer {
  return {
    id: 'kvm',
    title: 'Kernel: KVM',
    state: verdict.kvm === 'usable' ? 'ok' : 'warning',
    version: kernel,
    explains:
      'KVM is the part of the Linux kernel that uses this ability of the processor. With it, guest code runs on the processor itself at nearly full speed. Without it, every instruction is translated by software (TCG), which works everywhere but is many times slower.',
    detail: verdict.summary,
  }
}

function qemu({ qemu: found }: StackFacts): StackLayer {
  return {
    id: 'qemu',
    title: 'QEMU',
    state: found === null ? 'failed' : 'ok',
    version: found?.version ?? null,
    explains:
      'QEMU is the program that is the virtual machine: it plays the mainboard, the disks, the network card and the screen. Each running VM is one QEMU process of its own.',
    detail:
      found === null
        ? 'No working QEMU was found, so no VM can start. The readiness list has the command that installs it.'
        : `Guests can start by BIOS${found.hasUefi ? ' and UEFI' : '; UEFI firmware is not installed'}.`,
  }
}

function virtio({ qemu: found }: StackFacts): StackLayer {
  const wanted = [
    'virtio-blk-pci',
    'virtio-net-pci',
    'virtio-vga',
    'virtio-rng-pci',
    'virtio-balloon-pci',
    'virtio-serial-pci',
  ]
  const missing = found === null ? [] : wanted.filter((type) => !found.types.includes(type))
  return {
    id: 'virtio',
    title: 'virtio devices',
    state: found === null ? 'unknown' : missing.length === 0 ? 'ok' : 'warning',
    version: null,
    explains:
      'virtio is a family of devices made for virtual machines: instead of imitating real hardware in detail, guest and host talk by a simple, fast protocol. Linux and BSD bring the drivers; Windows needs them installed.',
    detail:
      found === null
        ? 'Unknown until QEMU is installed.'
        : missing.length === 0
          ? 'This QEMU has disk, network, display, random numbers, memory balloon and serial channels.'
          : `This QEMU was built without ${missing.join(', ')}.`,
  }
}

function guestdeck({ guestdeckVersion }: StackFacts): StackLayer {
  return {
    id: 'guestdeck',
    title: 'Guestdeck',
    state: 'ok',
    version: guestdeckVersion,
    explains:
      'Guestdeck starts QEMU, talks to each one over its control socket (QMP), and shows its screen in the browser. VMs keep running when Guestdeck stops, and are found again when it starts.',
    detail: 'This page is served by it.',
  }
}
