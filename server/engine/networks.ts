/** Networks as the API knows them: bridges of the host that administrators open to projects. */
import { randomUUIDv7 } from 'node:crypto'
import { mayOnSite } from '#lib/auth/privileges.ts'
import { NetworkId, ProjectId, VmId } from '#lib/schema/ids.ts'
import type { Network } from '#lib/schema/network.ts'
import type { Access } from '#server/access/access.ts'
import type { NetworkDocument, Networks } from '#server/access/networks.ts'
import type { Store } from '#server/store/types.ts'
import { canSeeVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { Caller, NetworkEngine } from './types.ts'
import type { VmRecords } from './vm-records.ts'

export interface NetworkEngineDeps {
  readonly store: Store
  readonly access: Access
  readonly networks: Networks
  readonly records: Pick<VmRecords, 'all'>
  readonly journal: Journal
  readonly now?: () => Date
}

const fold = (name: string) => name.normalize('NFKC').toLowerCase()

export function createNetworkEngine(deps: NetworkEngineDeps): NetworkEngine {
  const { store, access, networks, records, journal } = deps
  const manages = (caller: Caller) => mayOnSite(caller, 'network.manage')
  const isIn = (caller: Caller, projectId: string) => access.inProject(caller.userId, projectId).size > 0

  const view = (caller: Caller, network: NetworkDocument): Network => ({
    ...{ id: NetworkId.parse(network.id), name: network.name, description: network.description },
    ...{ bridge: network.bridge, everybody: network.everybody },
    projects: network.projectIds.flatMap((id) => {
      const project = access.projects.get(id)
      if (project === undefined || !(manages(caller) || isIn(caller, id))) return []
      return [{ id: ProjectId.parse(id), name: project.name }]
    }),
    vms: records.all().flatMap((record) => {
      const isOnIt = record.spec.networks.some((card) => card.network === 'bridge' && card.bridge === network.bridge)
      return isOnIt && canSeeVm(caller, record) ? [{ id: VmId.parse(record.id), name: record.spec.name }] : []
    }),
    createdAt: network.createdAt,
    revision: store.get('network', network.id)?.revision ?? 1,
  })
  const mustFind = (id: string): NetworkDocument => {
    const found = networks.all().find((network) => network.id === id)
    if (found === undefined) throw new EngineError('not_found', 'There is no such network.')
    return found
  }
  const assertNameFree = (name: string, but: string | null): void => {
    const other = networks.all().find((network) => network.id !== but && fold(network.name) === fold(name))
    if (other !== undefined)
      throw new EngineError('name_taken', `There is already one called ${other.name}; choose another name.`, {
        field: 'name',
      })
  }
  /** One that has gone since it was put in must not keep the others from being changed. */
  const assertProjects = (ids: readonly string[], before: readonly string[]): void => {
    ids.forEach((id, index) => {
      if (!before.includes(id) && !access.projects.has(id))
        throw new EngineError('bad_input', 'There is no such project.', { field: `projectIds.${index}` })
    })
  }
  const note = (what: string, caller: Caller, text: string, { id, name }: NetworkDocument): void =>
    journal.write({ what, text, caller, result: 'ok', objectId: id, objectName: name, durable: true })
  const openTo = ({ everybody, projectIds }: NetworkDocument): string => {
    if (everybody) return 'everybody'
    const names = projectIds.flatMap((id) => access.projects.get(id)?.name ?? [])
    return names.length === 0 ? 'nobody' : names.join(', ')
  }

  return {
    async list(caller) {
      const seen = networks
        .all()
        .filter(
          ({ everybody, projectIds }) => manages(caller) || everybody || projectIds.some((id) => isIn(caller, id)),
        )
      seen.sort((a, b) => a.name.localeCompare(b.name))
      return { items: seen.map((network) => view(caller, network)) }
    },
    async create(caller, input) {
      assertNameFree(input.name, null)
      assertProjects(input.projectIds, [])
      const network: NetworkDocument = {
        ...{ v: 1, id: randomUUIDv7(), ...input },
        projectIds: [...new Set(input.projectIds)],
        createdAt: (deps.now ?? (() => new Date()))().toISOString(),
      }
      store.put('network', network.id, network)
      note(
        'networkCreate',
        caller,
        `${caller.name} opened the bridge ${network.bridge} as ${network.name} to ${openTo(network)}.`,
        network,
      )
      return view(caller, network)
    },
    async update(caller, id, patch, expected) {
      const before = mustFind(id)
      if (patch.name !== undefined) assertNameFree(patch.name, id)
      if (patch.projectIds !== undefined) assertProjects(patch.projectIds, before.projectIds)
      const after: NetworkDocument = {
        ...before,
        name: patch.name ?? before.name,
        description: patch.description ?? before.description,
        bridge: patch.bridge ?? before.bridge,
        everybody: patch.everybody ?? before.everybody,
        projectIds: [...new Set(patch.projectIds ?? before.projectIds)],
      }
      const stored = store.get('network', id)
      if (stored === null || (expected !== null && stored.revision !== expected))
        throw new EngineError('stale_revision', 'Somebody changed this since you loaded it. Nothing was saved.')
      store.cas('network', id, after, stored.revision)
      note(
        'networkUpdate',
        caller,
        `${before.name}: ${caller.name} set the network to ${after.name}, the bridge ${after.bridge}, open to ${openTo(after)}.`,
        after,
      )
      return view(caller, after)
    },
    async delete(caller, id) {
      const network = mustFind(id)
      store.delete('network', id)
      note('networkDelete', caller, `${caller.name} closed the network ${network.name} (${network.bridge}).`, network)
    },
  }
}
