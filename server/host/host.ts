/**
 * The host as the dashboard shows it, and the one holder of the accelerator verdict.
 *
 * The verdict is found once after the start, and again on demand or when QEMU changed. One that came of a timeout is not
 * believed for long: a busy host can be too slow for the probe and be fine a minute later.
 */
import type { AcceleratorVerdict, CapabilitiesView, Capacity, Connection, DeviceType, Host } from '#lib/schema/host.ts'
import type { HostDevices } from '#lib/schema/host-devices.ts'
import type { CapabilitiesProbe } from '#server/capabilities/probe.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { viewCapabilities, viewDeviceType } from '#server/capabilities/view.ts'
import type { GroupsStatus } from '#server/cgroups/groups.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { ChildUser } from '#server/platform/child.ts'
import { startedAsRoot } from '#server/platform/privileges.ts'
import { checkAccelerator } from './accelerator.ts'
import { readIommu } from './devices/iommu.ts'
import { readKernelDevices } from './devices/kernel.ts'
import { listHostDevices } from './devices/list.ts'
import { Tree } from './devices/tree.ts'
import { type Findings, lookAround } from './findings.ts'
import { readInventory, readOsRelease } from './inventory.ts'
import { listOffers, type OfferFacts } from './offers.ts'
import { packageManager } from './packages.ts'
import { listReadiness } from './readiness.ts'
import { describeStack } from './stack.ts'
import { type AcceleratorDecision, decideAccelerator } from './verdict.ts'
import { detectVirtualization } from './virtualization.ts'

/** Programs do not come and go by the second; a refresh looks again at once. */
const FINDINGS_AGE_MS = 60_000
const DOUBTFUL_VERDICT_AGE_MS = 60_000

export interface HostServiceOptions {
  readonly capabilities: CapabilitiesProbe
  readonly policy: AcceleratorVerdict['policy']
  /** User the guest-code probe runs as where we are root; null keeps ours, without capabilities. */
  readonly user: ChildUser | null
  /** Directory whose file system is "the disk". */
  readonly dataDir: string
  readonly guestdeckVersion: string
  /** Control groups for guests, as found at the start; left out: not known. */
  readonly controlGroups?: GroupsStatus
  /** How browsers reach us, as it is now. */
  readonly connection: () => Connection
}

/** What only the caller knows. */
interface HostFacts {
  readonly counts: Host['counts']
  readonly promised: { readonly cpus: number; readonly memoryMiB: number; readonly diskBytes: number }
  readonly isolation: Host['isolation']
}

export interface HostService {
  /** Finds the verdict; never throws. `refresh` asks anew, otherwise a good one is kept. */
  check(options?: { refresh?: boolean }): Promise<AcceleratorVerdict>
  /** The latest verdict, without asking anything; null before the first. */
  verdict(): AcceleratorVerdict | null
  /** By the latest verdict. `kind` null means refused, with the reason. */
  decide(choice: AcceleratorVerdict['policy']): { readonly kind: 'kvm' | 'tcg' | null; readonly reason: string }
  /** Called when a new verdict is there. Returns the unsubscribe function. */
  onChange(listener: () => void): () => void
  /** Everything about the host; works without QEMU, and says so. */
  view(facts: HostFacts, options: { refresh: boolean }): Promise<Host>
  /** @throws EngineError launch_failed when QEMU is missing or broken */
  capabilities(): Promise<CapabilitiesView>
  /** @throws EngineError not_found for a type this QEMU lacks; launch_failed */
  deviceType(type: string): Promise<DeviceType>
  /** The host's own hardware, read anew each time. `details`: mount points and hardware addresses as well. */
  devices(options: { details: boolean }): Promise<HostDevices>
}

type QemuState =
  | { readonly capabilities: QemuCapabilities; readonly error: null }
  | { readonly capabilities: null; readonly error: { readonly missing: boolean; readonly message: string } }

interface Held<T> {
  readonly value: T
  readonly at: number
}

export function createHostService(options: HostServiceOptions): HostService {
  const listeners = new Set<() => void>()
  let held: (Held<AcceleratorVerdict> & { readonly binary: string | null }) | null = null
  let checking: Promise<AcceleratorVerdict> | null = null
  let findings: (Held<Findings> & { readonly qemu: QemuCapabilities | null }) | null = null

  const askQemu = async (): Promise<QemuState> => {
    try {
      return { capabilities: await options.capabilities.get(), error: null }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      const isMissing = error instanceof EngineError && error.details !== undefined
      return { capabilities: null, error: { missing: isMissing, message } }
    }
  }

  const isFresh = (qemu: QemuState): boolean => {
    if (held === null || held.binary !== identify(qemu.capabilities)) return false
    return !isDoubtful(held.value) || Date.now() - held.at < DOUBTFUL_VERDICT_AGE_MS
  }

  const runCheck = async (qemu: QemuState): Promise<AcceleratorVerdict> => {
    const { capabilities } = qemu
    const value = await checkAccelerator({
      binary: capabilities?.binary ?? null,
      qemu:
        capabilities === null
          ? null
          : { hasKvm: capabilities.accelerators.includes('kvm'), version: capabilities.version },
      policy: options.policy,
      user: options.user,
    })
    held = { value, at: Date.now(), binary: identify(capabilities) }
    for (const listener of [...listeners]) listener()
    return value
  }

  const check = async (refresh: boolean, qemu: QemuState): Promise<AcceleratorVerdict> => {
    if (!refresh && held !== null && isFresh(qemu)) return held.value
    // Callers at the same time share one probe.
    checking ??= runCheck(qemu).finally(() => {
      checking = null
    })
    return checking
  }

  const look = async (refresh: boolean, qemu: QemuState): Promise<Findings> => {
    const isRecent =
      findings !== null && findings.qemu === qemu.capabilities && Date.now() - findings.at < FINDINGS_AGE_MS
    if (!refresh && findings !== null && isRecent) return findings.value
    const value = await lookAround(qemu.capabilities, qemu.error)
    findings = { value, at: Date.now(), qemu: qemu.capabilities }
    return value
  }

  const capabilities = async (): Promise<CapabilitiesView> => {
    const current = await options.capabilities.get()
    return viewCapabilities(current, held?.value.auto ?? 'tcg', listOffers(current, readOfferFacts(options.user)))
  }

  const deviceType = async (type: string): Promise<DeviceType> => {
    const properties = await options.capabilities.properties(type)
    if (properties === null) {
      throw new EngineError('not_found', `The installed QEMU has no device or object type ${type} it tells about.`)
    }
    return viewDeviceType(type, properties)
  }

  return {
    check: async ({ refresh = false } = {}) => check(refresh, await askQemu()),
    verdict: () => held?.value ?? null,
    decide: (choice) => {
      if (held === null) return beforeVerdict(choice)
      return toDecision(decideAccelerator(choice, held.value))
    },
    onChange: (listener) => {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
    async view(facts, { refresh }) {
      const qemu = await askQemu()
      const [verdict, found, inventory] = await Promise.all([
        check(refresh, qemu),
        look(refresh, qemu),
        readInventory(options.dataDir),
      ])
      const readiness = listReadiness({
        ...found,
        manager: packageManager(inventory.os),
        ...readKernelFacts(options.user),
        verdict,
        controlGroups: options.controlGroups ?? null,
      })
      const { capabilities } = qemu
      return {
        hostname: inventory.hostname,
        os: inventory.os.prettyName,
        kernel: inventory.kernel,
        uptimeSeconds: inventory.uptimeSeconds,
        guestdeckVersion: options.guestdeckVersion,
        isolation: facts.isolation,
        connection: options.connection(),
        accelerator: verdict,
        stack: describeStack({
          cpuModel: inventory.cpu.model,
          kernel: inventory.kernel,
          guestdeckVersion: options.guestdeckVersion,
          verdict,
          surroundings: describeSurroundings(),
          qemu:
            capabilities === null
              ? null
              : { version: capabilities.version, types: capabilities.types, hasUefi: capabilities.uefi !== null },
        }),
        readiness: readiness.items,
        installCommand: readiness.installCommand,
        capacity: joinCapacity(inventory, facts.promised),
        counts: facts.counts,
      }
    },
    capabilities,
    deviceType,
    devices: ({ details }) => listHostDevices({ user: options.user, details }),
  }
}

/** A few small files; what is loaded can change at any time. */
function readKernelFacts(user: ChildUser | null) {
  const tree = new Tree()
  return { isRoot: startedAsRoot, kernel: readKernelDevices(tree, user, startedAsRoot), iommu: readIommu(tree) }
}

function readOfferFacts(user: ChildUser | null): OfferFacts {
  const hasUsb = new Tree().list('sys/bus/usb/devices').length > 0
  return { ...readKernelFacts(user), manager: packageManager(readOsRelease()), hasUsb }
}

/** A busy host, perhaps; the next look may see better. */
function isDoubtful(verdict: AcceleratorVerdict): boolean {
  const guest = verdict.evidence.find((step) => step.id === 'guest-code')
  return guest?.state === 'failed' && guest.seen.includes('had not finished')
}

/** Version and path: an upgraded QEMU is another one. */
function identify(capabilities: QemuCapabilities | null): string | null {
  return capabilities === null ? null : `${capabilities.binary} ${capabilities.version} ${capabilities.package}`
}

function toDecision(decision: AcceleratorDecision): { kind: 'kvm' | 'tcg' | null; reason: string } {
  return 'refused' in decision ? { kind: null, reason: decision.reason } : decision
}

function beforeVerdict(choice: AcceleratorVerdict['policy']): { kind: 'tcg' | null; reason: string } {
  if (choice === 'tcg') return { kind: 'tcg', reason: 'Software emulation (TCG) is what this VM is set to.' }
  return { kind: null, reason: 'Whether KVM works on this host is still being found out. Try again in a second.' }
}

function describeSurroundings(): string | null {
  const { vm, container } = detectVirtualization()
  if (vm !== null && container !== null) return `a container (${container}) in a virtual machine (${vm})`
  if (vm !== null) return `a virtual machine (${vm})`
  return container === null ? null : `a container (${container})`
}

function joinCapacity(
  inventory: Pick<Awaited<ReturnType<typeof readInventory>>, 'cpu' | 'memory' | 'disk'>,
  promised: HostFacts['promised'],
): Capacity {
  return {
    cpus: { ...inventory.cpu, promised: promised.cpus },
    memory: { ...inventory.memory, promisedMiB: promised.memoryMiB },
    disk: { ...inventory.disk, promisedBytes: promised.diskBytes },
  }
}
