/** What the store keeps about projects, groups, custom roles and who else reaches an object. */
import * as z from 'zod'
import { type ObjectKind, PRIVILEGES, type Privilege } from '#lib/auth/privileges.ts'
import type { Party } from '#lib/schema/project.ts'

const PartyDocument = z.object({ type: z.enum(['person', 'group', 'project']), id: z.string() })
const MembershipDocument = z.object({ to: PartyDocument, role: z.string() })

export const ProjectDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  description: z.string(),
  members: z.array(MembershipDocument),
  archivedAt: z.string().nullable(),
  createdAt: z.string(),
})
export type ProjectDocument = z.output<typeof ProjectDocument>

export const GroupDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  memberIds: z.array(z.string()),
  external: z.string().nullable(),
  createdAt: z.string(),
})
export type GroupDocument = z.output<typeof GroupDocument>

export const RoleDocument = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string(),
  description: z.string(),
  /** What a later release knows and this one does not is left out: nobody may it. */
  privileges: z.array(z.string()).transform((list) => PRIVILEGES.filter((known: Privilege) => list.includes(known))),
  reach: z.enum(['own', 'all']),
  createdAt: z.string(),
})
export type RoleDocument = z.output<typeof RoleDocument>

/** Stored under `vm:ID`, `image:ID` or `volume:ID`. What has none is its owner's alone (an image: everybody's). */
export const PlacementDocument = z.object({
  v: z.literal(1),
  projectId: z.string().nullable(),
  shares: z.array(MembershipDocument),
})
export type PlacementDocument = z.output<typeof PlacementDocument>

export const placementKey = (kind: ObjectKind, id: string): string => `${kind}:${id}`
export const sameParty = (a: Pick<Party, 'type'> & { id: string }, b: Pick<Party, 'type'> & { id: string }): boolean =>
  a.type === b.type && a.id === b.id
