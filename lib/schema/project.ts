/** Projects, groups, custom roles, and who else reaches one object. */
import * as z from 'zod'
import { OBJECT_PRIVILEGES, PRIVILEGES } from '../auth/privileges.ts'
import { GroupId, Instant, Label, ProjectId, Revision, RoleId, UserId } from './ids.ts'
import { Role } from './user.ts'

/** A built-in role, or the id of a custom one. */
export const GrantedRole = z.union([Role, RoleId]).meta({ id: 'GrantedRole' })
export type GrantedRole = z.output<typeof GrantedRole>

/** Somebody something can be given to. */
export const Party = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('person'), id: UserId }),
    z.strictObject({ type: z.literal('group'), id: GroupId }),
    z.strictObject({ type: z.literal('project'), id: ProjectId }),
  ])
  .meta({ id: 'Party' })
export type Party = z.output<typeof Party>

export const Membership = z.strictObject({ to: Party, role: GrantedRole }).meta({ id: 'Membership' })
export type Membership = z.output<typeof Membership>
const NamedMembership = z.strictObject({ ...Membership.shape, name: z.string() }).meta({ id: 'NamedMembership' })

export const Project = z
  .strictObject({
    id: ProjectId,
    name: z.string(),
    description: z.string(),
    /** People and groups with their role in it. Empty to those who do not manage it. */
    members: z.array(NamedMembership),
    archivedAt: Instant.nullable(),
    counts: z.strictObject({ vms: z.int(), running: z.int(), volumes: z.int(), images: z.int() }),
    /** What the caller may do in it. */
    privileges: z.array(z.enum(PRIVILEGES)),
    createdAt: Instant,
    revision: Revision,
  })
  .meta({ id: 'Project' })
export type Project = z.output<typeof Project>

const ProjectMembers = z
  .array(Membership)
  .max(500)
  .refine((list) => list.every(({ to }) => to.type !== 'project'), 'people and groups only')
export const ProjectInput = z.strictObject({
  name: Label,
  description: z.string().max(2000).default(''),
  members: ProjectMembers.default([]),
})
export const ProjectPatch = z.strictObject({
  name: Label.optional(),
  description: z.string().max(2000).optional(),
  members: ProjectMembers.optional(),
  archived: z.boolean().optional(),
})

export const Group = z
  .strictObject({
    id: GroupId,
    name: z.string(),
    members: z.array(z.strictObject({ id: UserId, name: z.string() })),
    /** Whoever is in this group elsewhere belongs to it too: `oidc:staff`, `ldap:…`. Null: none. */
    external: z.string().nullable(),
    createdAt: Instant,
    revision: Revision,
  })
  .meta({ id: 'Group' })
export type Group = z.output<typeof Group>
export const GroupInput = z.strictObject({
  name: Label,
  memberIds: z.array(UserId).max(1000).default([]),
  external: z
    .string()
    .regex(/^(oidc|ldap|host):[^\p{Cc}]{1,256}$/u, 'oidc:, ldap: or host:, then the name of the group there')
    .nullable()
    .default(null),
})
export const GroupPatch = GroupInput.partial()

export const CustomRole = z
  .strictObject({
    id: RoleId,
    name: z.string(),
    description: z.string(),
    privileges: z.array(z.enum(PRIVILEGES)),
    /** Of whom it is the role of: `all` objects of the host, or their own. */
    reach: z.enum(['own', 'all']),
    /** How many people, projects and shares have it. */
    uses: z.int(),
    createdAt: Instant,
    revision: Revision,
  })
  .meta({ id: 'CustomRole' })
export type CustomRole = z.output<typeof CustomRole>
/** Not in a custom role: who has these is administrator in all but name. */
const FOR_ADMINISTRATORS = ['user.manage', 'quota.manage'] as const
export const CustomRoleInput = z.strictObject({
  name: Label,
  description: z.string().max(2000).default(''),
  privileges: z
    .array(z.enum(PRIVILEGES).exclude([...FOR_ADMINISTRATORS]))
    .min(1)
    .max(PRIVILEGES.length),
  reach: z.enum(['own', 'all']).default('own'),
})
export const CustomRolePatch = CustomRoleInput.partial()

/** What a built-in role is, for the page that shows all of them. */
export const BuiltInRoleView = z
  .strictObject({ role: Role, privileges: z.array(z.enum(PRIVILEGES)), inProjects: z.array(z.enum(OBJECT_PRIVILEGES)) })
  .meta({ id: 'BuiltInRoleView' })

/** Roles that make sense for one object: whose it is, it stays. */
const SHARED_ROLES = ['viewer', 'operator'] as const
export const Share = z.strictObject({ to: Party, role: z.union([z.enum(SHARED_ROLES), RoleId]) }).meta({ id: 'Share' })
export type Share = z.output<typeof Share>

/** Who reaches an object. */
export const ObjectAccess = z
  .strictObject({
    owner: z.strictObject({ id: UserId, name: z.string() }),
    project: z.strictObject({ id: ProjectId, name: z.string() }).nullable(),
    shares: z.array(z.strictObject({ ...Share.shape, name: z.string() })),
    /** What the caller may do with it. */
    privileges: z.array(z.enum(PRIVILEGES)),
    /** Why the caller cannot change this; null: they can. */
    reason: z.string().nullable(),
    /** Of shares and project; 0 as long as nothing was said about them. */
    revision: z.int(),
  })
  .meta({ id: 'ObjectAccess' })
export type ObjectAccess = z.output<typeof ObjectAccess>

export const ObjectAccessPatch = z.strictObject({
  shares: z.array(Share).max(100).optional(),
  /** Null: out of its project, its owner's alone again. */
  projectId: ProjectId.nullable().optional(),
  ownerId: UserId.optional(),
})

/** Whom something can be given to, by name. */
export const Directory = z
  .strictObject({
    people: z.array(z.strictObject({ id: UserId, name: z.string() })),
    groups: z.array(z.strictObject({ id: GroupId, name: z.string() })),
    projects: z.array(
      z.strictObject({ id: ProjectId, name: z.string(), archived: z.boolean(), mayCreate: z.boolean() }),
    ),
    roles: z.array(z.strictObject({ id: RoleId, name: z.string() })),
  })
  .meta({ id: 'Directory' })
export type Directory = z.output<typeof Directory>
