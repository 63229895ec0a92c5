/** Networks: bridges of the host, opened by name to projects or to everybody. */
import * as z from 'zod'
import { Instant, Label, NetworkId, ProjectId, Revision, VmId } from './ids.ts'
import { BridgeName } from './vm-spec/networks.ts'

export const Network = z
  .strictObject({
    id: NetworkId,
    name: z.string(),
    description: z.string(),
    /** Bridge of the host that cards are plugged into. */
    bridge: BridgeName,
    /** Whether VMs of every project, and those in none, may be plugged in. */
    everybody: z.boolean(),
    /** Whose VMs may. Of those the caller is in, unless they manage networks. */
    projects: z.array(z.strictObject({ id: ProjectId, name: z.string() })),
    /** VMs with a card on this bridge, of those the caller sees. */
    vms: z.array(z.strictObject({ id: VmId, name: z.string() })),
    createdAt: Instant,
    revision: Revision,
  })
  .meta({ id: 'Network' })
export type Network = z.output<typeof Network>

export const NetworkInput = z.strictObject({
  name: Label,
  description: z.string().max(2000).default(''),
  bridge: BridgeName,
  everybody: z.boolean().default(false),
  projectIds: z.array(ProjectId).max(500).default([]),
})
export const NetworkPatch = z.strictObject({
  name: Label.optional(),
  description: z.string().max(2000).optional(),
  bridge: BridgeName.optional(),
  everybody: z.boolean().optional(),
  projectIds: z.array(ProjectId).max(500).optional(),
})
