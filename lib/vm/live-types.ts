/** What a change of a running guest is made of. Pure data: the server carries it out, pages announce it. */
import type { DeviceProperties, NetworkCard, Throttle, VmSpec } from '../schema/vm-spec.ts'
import type { PendingChange } from '../schema/vm-state.ts'

/** Fields of the spec that are lists of devices, compared by `id`. */
export type DeviceList = 'disks' | 'networks' | 'inputs' | 'dimms' | 'channels' | 'shares' | 'hostDevices'
export type DeviceOf<L extends DeviceList> = VmSpec[L][number]
export type AnyDevice = DeviceOf<DeviceList>
type Forwards = NetworkCard['forwards']

/** `field` is the dotted path into the wanted definition, for errors: `disks.2`; a removed device has its list's. */
export type LiveStep = { readonly field: string } & (
  | {
      readonly kind: 'plug'
      readonly list: DeviceList
      readonly device: AnyDevice
      /** Its entry of `properties`. */
      readonly properties: DeviceProperties[string] | null
      /** Device that must have gone first, because its place is taken over; null mostly. */
      readonly after: string | null
    }
  | { readonly kind: 'unplug'; readonly list: DeviceList; readonly id: string }
  | { readonly kind: 'medium'; readonly id: string; readonly image: string | null; readonly seed: string | null }
  | { readonly kind: 'throttle'; readonly id: string; readonly throttle: Throttle | null }
  /** It only ever grows. */
  | { readonly kind: 'resize'; readonly id: string; readonly sizeGiB: number }
  | { readonly kind: 'link'; readonly id: string; readonly link: boolean }
  | { readonly kind: 'rate-limit'; readonly id: string; readonly rateLimit: NetworkCard['rateLimit'] }
  | { readonly kind: 'forwards'; readonly id: string; readonly before: Forwards; readonly forwards: Forwards }
  /** All positions that change, at once: two devices never share one. */
  | {
      readonly kind: 'boot-order'
      readonly positions: readonly {
        readonly list: 'disks' | 'networks'
        readonly id: string
        readonly bootIndex: number | null
      }[]
    }
  | { readonly kind: 'cpus'; readonly before: number; readonly cpus: number }
  | { readonly kind: 'virtio-mem'; readonly requestedMiB: number }
  | { readonly kind: 'balloon'; readonly targetMiB: number | null }
  | { readonly kind: 'watchdog'; readonly action: NonNullable<VmSpec['watchdog']>['action'] }
  /** Known to the dashboard alone, so that nothing is asked of QEMU. */
  | { readonly kind: 'note'; readonly values: Partial<VmSpec> }
)

/** What decides whether a change can be made to this running machine. */
export interface LiveFacts {
  /** Sockets for devices that it has: PCIe root ports of q35, slots of pc. */
  readonly sockets: number
  /** Whether QEMU has a device of this id: controllers such as `usb` and `scsi0`. */
  readonly has: (id: string) => boolean
  /** False under TCG, which does not survive that a CPU goes and comes back. */
  readonly canUnplugCpus: boolean
  /** Whether other processes can serve its memory, as virtiofs needs. */
  readonly sharedMemory: boolean
  /** What the guest was asked to let go of and has not, by device id, with its words where it refused. */
  readonly awaited: ReadonlyMap<string, string | null>
}

export interface Ruling {
  readonly steps: readonly LiveStep[]
  /** Every difference; `waiting` tells whether the steps would end it. */
  readonly differences: readonly PendingChange[]
}

export interface RuleContext {
  readonly live: VmSpec
  readonly next: VmSpec
  readonly facts: LiveFacts
}
