import type { OperationId } from '#lib/api/contract.ts'

/** What can be shared and moved, and by which operation. */
export type SharedKind = 'vm' | 'image' | 'volume'
export const ACCESS_UPDATE = {
  vm: 'vmAccessUpdate',
  image: 'imageAccessUpdate',
  volume: 'volumeAccessUpdate',
} as const satisfies Record<SharedKind, OperationId>

export interface Shared {
  readonly kind: SharedKind
  readonly id: string
  readonly name: string
}
