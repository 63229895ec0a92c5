/**
 * From facts about a host to the verdict on its hardware acceleration, and from the verdict to what one VM runs on.
 * Pure: `accelerator-facts.ts` gathers, this judges.
 */
import type { AcceleratorVerdict, EvidenceStep } from '#lib/schema/host.ts'

export type GuestRun =
  /** The guest computed everything right. */
  | { readonly outcome: 'ran'; readonly ms: number }
  /** It computed, but wrongly. */
  | { readonly outcome: 'wrong'; readonly ms: number }
  /** KVM gave up on it: QEMU stopped the virtual machine with run state `internal-error`. `said`: QEMU's own words. */
  | { readonly outcome: 'stopped'; readonly ms: number; readonly said: string }
  /** QEMU ended in another way. */
  | { readonly outcome: 'ended'; readonly ms: number; readonly how: string; readonly said: string }
  | { readonly outcome: 'timeout'; readonly ms: number }

export interface AcceleratorFacts {
  readonly cpu: {
    /** Vendor string of /proc/cpuinfo, or empty. */
    readonly vendor: string
    readonly vmx: boolean
    readonly svm: boolean
    /** The CPU says that it is a virtual one. */
    readonly hypervisor: boolean
  }
  /** What the surroundings are known to be, for example `docker` or `kvm`; null on bare metal or unknown. */
  readonly virtualization: { readonly vm: string | null; readonly container: string | null }
  /** Names under /sys/module that begin with kvm. */
  readonly kvmModules: readonly string[]
  readonly device:
    | { readonly present: false }
    | {
        readonly present: true
        readonly isCharacterDevice: boolean
        /** Permission bits alone, such as 0o660. */
        readonly mode: number
        readonly owner: string
        readonly group: string
      }
  /** Whether the user QEMU runs as may open the device; null when there is none. */
  readonly opens: { readonly ok: boolean; readonly user: string; readonly error: string | null } | null
  /** Null when there is no QEMU to ask. */
  readonly qemu: { readonly hasKvm: boolean; readonly version: string } | null
  /** Null when it could not be tried. */
  readonly guest: GuestRun | null
}

type Policy = AcceleratorVerdict['policy']

/** @param checkedAt ISO date and time of the facts */
export function judgeAccelerator(facts: AcceleratorFacts, policy: Policy, checkedAt: string): AcceleratorVerdict {
  const evidence = [
    cpuStep(facts),
    moduleStep(facts),
    deviceStep(facts),
    permissionStep(facts),
    qemuStep(facts),
    guestStep(facts),
  ]
  const kvm = decideKvm(facts)
  const auto = policy === 'auto' ? (kvm === 'usable' ? 'kvm' : 'tcg') : policy
  return {
    kvm,
    auto,
    summary: summarize(kvm, policy, facts),
    evidence,
    probeMs: facts.guest === null ? null : Math.round(facts.guest.ms),
    checkedAt,
    policy,
  }
}

function decideKvm(facts: AcceleratorFacts): AcceleratorVerdict['kvm'] {
  if (!facts.device.present || !facts.device.isCharacterDevice) return 'absent'
  if (facts.qemu !== null && !facts.qemu.hasKvm) return 'absent'
  // Asked before permission: where no guest runs for anyone, giving permission would mend nothing.
  if (facts.guest !== null && facts.guest.outcome !== 'ran') return 'unusable'
  if (facts.opens === null || !facts.opens.ok) return 'denied'
  return facts.guest === null ? 'unusable' : 'usable'
}

function summarize(kvm: AcceleratorVerdict['kvm'], policy: Policy, facts: AcceleratorFacts): string {
  const state = {
    usable: 'KVM works on this host: guest code ran on the CPU itself.',
    unusable:
      facts.guest === null
        ? 'KVM opens, but whether it can run a guest could not be tried.'
        : 'KVM opens on this host, but it cannot run a guest.',
    absent: 'This host has no KVM.',
    denied: 'KVM is there, but QEMU is not allowed to use it.',
  }[kvm]
  return `${state} ${policySentence(kvm, policy)}`
}

function policySentence(kvm: AcceleratorVerdict['kvm'], policy: Policy): string {
  if (policy === 'tcg') return 'GUESTDECK_ACCEL=tcg makes "auto" take software emulation (TCG) all the same.'
  if (kvm === 'usable') return 'VMs set to "auto" run at hardware speed.'
  if (policy === 'kvm') return 'GUESTDECK_ACCEL=kvm allows nothing else, so VMs set to "auto" do not start.'
  return 'VMs set to "auto" run on software emulation (TCG): correct, but many times slower.'
}

function step(
  id: EvidenceStep['id'],
  title: string,
  state: EvidenceStep['state'],
  seen: string,
  advice = '',
): EvidenceStep {
  return { id, title, state, seen, advice }
}

function cpuStep(facts: AcceleratorFacts): EvidenceStep {
  const title = 'The CPU offers virtualization'
  const { vmx, svm, vendor, hypervisor } = facts.cpu
  if (vmx) return step('cpu-flags', title, 'ok', 'The CPU flag vmx is there: Intel VT-x.')
  if (svm) return step('cpu-flags', title, 'ok', 'The CPU flag svm is there: AMD-V.')
  const seen = `Neither vmx (Intel VT-x) nor svm (AMD-V) is among the flags of this ${vendor === '' ? 'CPU' : `${vendor} CPU`}.`
  // A paravirtual KVM runs guests without either; nothing needs mending then.
  if (facts.guest?.outcome === 'ran')
    return step('cpu-flags', title, 'unknown', `${seen} KVM ran a guest without them.`)
  return step('cpu-flags', title, 'failed', seen, firmwareAdvice(facts, hypervisor))
}

function firmwareAdvice(facts: AcceleratorFacts, hypervisor: boolean): string {
  if (facts.virtualization.vm !== null || hypervisor) {
    return 'This host is itself a virtual machine: turn on nested virtualization for it in the hypervisor it runs on (for KVM, the CPU model "host" and the module option nested=1), or choose a machine type or provider that offers it.'
  }
  return 'Turn on Intel VT-x or AMD SVM in the firmware setup (BIOS) of this machine, then switch it off and on again.'
}

function moduleStep(facts: AcceleratorFacts): EvidenceStep {
  const title = 'The kernel has KVM loaded'
  const { kvmModules, cpu } = facts
  if (kvmModules.some((name) => name !== 'kvm')) {
    return step('kvm-module', title, 'ok', `Present: ${kvmModules.join(', ')}.`)
  }
  if (facts.device.present) {
    return step(
      'kvm-module',
      title,
      'unknown',
      'No kvm module is listed, but /dev/kvm is there: KVM may be built into the kernel.',
    )
  }
  const seen =
    kvmModules.length === 0 ? 'No kvm module is loaded.' : 'kvm is loaded, but neither kvm_intel nor kvm_amd.'
  const name = cpu.vmx ? 'kvm_intel' : cpu.svm ? 'kvm_amd' : null
  if (facts.virtualization.container !== null) {
    return step('kvm-module', title, 'failed', seen, 'This is a container: modules are loaded on its host.')
  }
  return step(
    'kvm-module',
    title,
    'failed',
    seen,
    name === null
      ? 'It can load only once the CPU offers virtualization.'
      : `Load it: modprobe ${name}. If it refuses, the firmware setup has virtualization turned off; dmesg says so.`,
  )
}

function deviceStep(facts: AcceleratorFacts): EvidenceStep {
  const title = '/dev/kvm is there'
  const { device } = facts
  if (!device.present) {
    const advice =
      facts.virtualization.container !== null
        ? 'This is a container: start it with the device, for example docker run --device /dev/kvm.'
        : 'It appears when the kvm module for this CPU is loaded.'
    return step('kvm-device', title, 'failed', 'There is no /dev/kvm.', advice)
  }
  if (!device.isCharacterDevice) {
    return step('kvm-device', title, 'failed', '/dev/kvm is not a device.', 'Remove it and load the kvm module again.')
  }
  const mode = device.mode.toString(8).padStart(4, '0')
  return step('kvm-device', title, 'ok', `Device node, mode ${mode}, owner ${device.owner}, group ${device.group}.`)
}

function permissionStep(facts: AcceleratorFacts): EvidenceStep {
  const title = 'QEMU may open /dev/kvm'
  const { opens, device } = facts
  if (opens === null || !device.present) return step('kvm-permission', title, 'skipped', 'There is nothing to open.')
  if (opens.ok) return step('kvm-permission', title, 'ok', `The user ${opens.user}, as whom QEMU runs, may open it.`)
  const seen = `The user ${opens.user}, as whom QEMU runs, may not open it${opens.error === null ? '' : `: ${opens.error}`}.`
  const groupOpens = (device.mode & 0o060) === 0o060 && device.group !== 'root'
  const advice = groupOpens
    ? `Add the user to the device's group: usermod -aG ${device.group} ${opens.user}, then start Guestdeck again from a new session.`
    : "Let the group kvm open it: chgrp kvm /dev/kvm && chmod 660 /dev/kvm. The udev rules of a distribution's QEMU package do this at every start."
  return step('kvm-permission', title, 'failed', seen, advice)
}

function qemuStep(facts: AcceleratorFacts): EvidenceStep {
  const title = 'QEMU was built with KVM'
  const { qemu } = facts
  if (qemu === null) {
    return step(
      'qemu-kvm',
      title,
      'unknown',
      'No working QEMU was found to ask.',
      'Install QEMU; the readiness list has the command.',
    )
  }
  if (qemu.hasKvm) return step('qemu-kvm', title, 'ok', `QEMU ${qemu.version} lists the accelerator kvm.`)
  return step(
    'qemu-kvm',
    title,
    'failed',
    `QEMU ${qemu.version} does not list the accelerator kvm.`,
    "Use the distribution's own QEMU package, or build QEMU with --enable-kvm.",
  )
}

const UNUSABLE_ADVICE =
  'This is for the kernel or the hypervisor below to mend, not for a setting here. Until then VMs run on software emulation (TCG).'

function guestStep(facts: AcceleratorFacts): EvidenceStep {
  const title = 'Guest code ran'
  const run = facts.guest
  if (run === null) return step('guest-code', title, 'skipped', 'Not tried, because a step before it failed.')
  const ms = Math.round(run.ms)
  const failed = (seen: string, advice: string) => step('guest-code', title, 'failed', seen, advice)
  switch (run.outcome) {
    case 'ran':
      return step('guest-code', title, 'ok', `A small 64-bit guest with floating point ran to its end in ${ms} ms.`)
    case 'wrong':
      return failed(`A small guest ran for ${ms} ms, but its arithmetic came out wrong.`, UNUSABLE_ADVICE)
    case 'stopped':
      return failed(
        `KVM stopped a small guest after ${ms} ms with an internal error${quote(run.said)}.`,
        nestedAdvice(facts),
      )
    case 'ended':
      return failed(
        `QEMU ended after ${ms} ms instead of running a small guest (${run.how})${quote(run.said)}.`,
        nestedAdvice(facts),
      )
    case 'timeout':
      return failed(
        `A small guest that needs a few milliseconds had not finished after ${ms} ms.`,
        'Check again when the host is less busy. If it stays so, KVM does not run guests here.',
      )
  }
}

function nestedAdvice(facts: AcceleratorFacts): string {
  const { vm, container } = facts.virtualization
  if (vm === null && container === null && !facts.cpu.hypervisor) return UNUSABLE_ADVICE
  return `${UNUSABLE_ADVICE} This host is itself virtual${vm === null ? '' : ` (${vm})`}: real nested virtualization has to be offered by what it runs on.`
}

function quote(said: string): string {
  return said === '' ? '' : `: "${said}"`
}

export type AcceleratorDecision =
  | { readonly kind: 'kvm' | 'tcg'; readonly reason: string }
  | { readonly refused: true; readonly reason: string }

/**
 * What one VM runs on. A VM that wants KVM never ends up on TCG in silence: it is refused, with the reason,
 * for the caller to turn into `accelerator_unusable`.
 */
export function decideAccelerator(choice: Policy, verdict: AcceleratorVerdict): AcceleratorDecision {
  if (choice === 'tcg') return { kind: 'tcg', reason: 'Software emulation (TCG) is what this VM is set to.' }
  if (choice === 'kvm') {
    if (verdict.kvm === 'usable')
      return { kind: 'kvm', reason: 'KVM is what this VM is set to, and it works on this host.' }
    return {
      refused: true,
      reason: `This VM is set to KVM, which cannot be used here: ${why(verdict)} Set it to "auto" or "tcg", or mend KVM (see the Host page).`,
    }
  }
  if (verdict.auto === 'tcg') {
    const reason =
      verdict.policy === 'tcg'
        ? '"auto" took software emulation (TCG), because GUESTDECK_ACCEL=tcg allows nothing else.'
        : `"auto" took software emulation (TCG): ${why(verdict)}`
    return { kind: 'tcg', reason }
  }
  if (verdict.kvm === 'usable') return { kind: 'kvm', reason: '"auto" took KVM: guest code runs with it on this host.' }
  return {
    refused: true,
    reason: `GUESTDECK_ACCEL=kvm allows KVM alone, which cannot be used here: ${why(verdict)} Allow "auto" or set this VM to "tcg".`,
  }
}

/** The step that decided, in one sentence. */
function why(verdict: AcceleratorVerdict): string {
  const order: readonly EvidenceStep['id'][] =
    verdict.kvm === 'unusable'
      ? ['guest-code']
      : verdict.kvm === 'denied'
        ? ['kvm-permission']
        : ['kvm-device', 'qemu-kvm', 'kvm-module', 'cpu-flags']
  const decisive = order
    .map((id) => verdict.evidence.find((entry) => entry.id === id))
    .find((entry) => entry?.state === 'failed')
  return decisive?.seen ?? verdict.summary
}
