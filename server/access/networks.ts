/** Which bridges of the host administrators have opened, by name, to projects or to everybody. Read from the store each time. */
import * as z from 'zod'
import type { Store } from '#server/store/types.ts'

export const NetworkDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  description: z.string(),
  bridge: z.string(),
  everybody: z.boolean(),
  projectIds: z.array(z.string()),
  createdAt: z.string(),
})
export type NetworkDocument = z.output<typeof NetworkDocument>

export interface Networks {
  all(): readonly NetworkDocument[]
  /** Whether VMs of a project (null: of none) may be plugged into a bridge. */
  isOpen(bridge: string, projectId: string | null): boolean
}

export function createNetworks(store: Pick<Store, 'list'>): Networks {
  // What cannot be read opens nothing.
  const all = () => store.list('network').flatMap(({ value }) => NetworkDocument.safeParse(value).data ?? [])
  return {
    all,
    isOpen: (bridge, projectId) =>
      all().some(
        (network) =>
          network.bridge === bridge &&
          (network.everybody || (projectId !== null && network.projectIds.includes(projectId))),
      ),
  }
}
