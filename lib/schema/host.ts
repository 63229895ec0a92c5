/** The host and its virtualization stack, layer by layer, with evidence. */
import * as z from 'zod'

/** One checked fact on the way to the verdict. */
export const EvidenceStep = z
  .strictObject({
    id: z.enum(['cpu-flags', 'kvm-module', 'kvm-device', 'kvm-permission', 'qemu-kvm', 'guest-code']),
    title: z.string(),
    state: z.enum(['ok', 'failed', 'unknown', 'skipped']),
    /** What was seen, in words: the flag found, the mode of the device node, QEMU's message. */
    seen: z.string(),
    /** How to mend it; empty when ok. */
    advice: z.string(),
  })
  .meta({ id: 'EvidenceStep' })
export type EvidenceStep = z.output<typeof EvidenceStep>

export const AcceleratorVerdict = z
  .strictObject({
    /** `usable`: guest code really ran under KVM. `unusable`: KVM opens but cannot run a guest. `absent`: no KVM. `denied`: no permission. */
    kvm: z.enum(['usable', 'unusable', 'absent', 'denied']),
    /** What `auto` takes on this host. */
    auto: z.enum(['kvm', 'tcg']),
    summary: z.string(),
    evidence: z.array(EvidenceStep),
    /** How long the guest-code probe took, milliseconds; null when skipped. */
    probeMs: z.number().nullable(),
    checkedAt: z.iso.datetime(),
    /** What `GUESTDECK_ACCEL` allows `auto` to choose from. */
    policy: z.enum(['auto', 'kvm', 'tcg']),
  })
  .meta({ id: 'AcceleratorVerdict' })
export type AcceleratorVerdict = z.output<typeof AcceleratorVerdict>

export const ReadinessItem = z
  .strictObject({
    id: z.string(),
    title: z.string(),
    /** What it is for, in one sentence. */
    purpose: z.string(),
    need: z.enum(['required', 'optional', 'pick-one']),
    /** Items of one pick-one group share this name. */
    group: z.string().nullable(),
    state: z.enum(['ok', 'missing', 'broken', 'unknown']),
    version: z.string().nullable(),
    detail: z.string(),
    /** Distribution package names that bring it. */
    packages: z.array(z.string()),
    /** Shell command that mends this line; null when nothing to mend or unknown. */
    command: z.string().nullable(),
  })
  .meta({ id: 'ReadinessItem' })
export type ReadinessItem = z.output<typeof ReadinessItem>

/** One layer of the stack as the host page draws it. */
export const StackLayer = z
  .strictObject({
    id: z.enum(['hardware', 'kvm', 'qemu', 'virtio', 'guestdeck']),
    title: z.string(),
    state: z.enum(['ok', 'warning', 'failed', 'unknown']),
    version: z.string().nullable(),
    /** What this layer is, for someone who never heard of it. */
    explains: z.string(),
    detail: z.string(),
  })
  .meta({ id: 'StackLayer' })
export type StackLayer = z.output<typeof StackLayer>

export const Capacity = z
  .strictObject({
    cpus: z.strictObject({ total: z.int(), model: z.string(), load: z.number(), promised: z.int() }),
    memory: z.strictObject({ totalMiB: z.number(), availableMiB: z.number(), promisedMiB: z.number() }),
    disk: z.strictObject({ totalBytes: z.number(), freeBytes: z.number(), promisedBytes: z.number() }),
  })
  .meta({ id: 'Capacity' })
export type Capacity = z.output<typeof Capacity>

export const Host = z
  .strictObject({
    hostname: z.string(),
    os: z.string(),
    kernel: z.string(),
    uptimeSeconds: z.number(),
    guestdeckVersion: z.string(),
    /** Whether QEMU runs under a user of its own (dashboard is root) or shares ours. */
    isolation: z.strictObject({ privileged: z.boolean(), summary: z.string() }),
    accelerator: AcceleratorVerdict,
    stack: z.array(StackLayer),
    readiness: z.array(ReadinessItem),
    /** One command that installs everything missing; null when nothing is. */
    installCommand: z.string().nullable(),
    capacity: Capacity,
    counts: z.strictObject({ vms: z.int(), running: z.int() }),
  })
  .meta({ id: 'Host' })
export type Host = z.output<typeof Host>

/** What the installed QEMU offers, reduced to what forms need. */
export const CapabilitiesView = z
  .strictObject({
    qemuVersion: z.string(),
    binary: z.string(),
    machines: z.array(
      z.strictObject({ name: z.string(), isDefault: z.boolean(), deprecated: z.boolean(), maxCpus: z.int() }),
    ),
    cpuModels: z.array(
      z.strictObject({
        name: z.string(),
        deprecated: z.boolean(),
        /** Features the model wants and this host cannot give, under the accelerator `auto` takes. */
        missing: z.array(z.string()),
      }),
    ),
    devices: z.array(z.string()),
    firmware: z.strictObject({ bios: z.boolean(), uefi: z.boolean() }),
    accelerators: z.array(z.enum(['kvm', 'tcg'])),
  })
  .meta({ id: 'CapabilitiesView' })
export type CapabilitiesView = z.output<typeof CapabilitiesView>
