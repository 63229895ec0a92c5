/**
 * Who else reaches one object, and whose it is: shares, its project, its owner. A change counts at once, for open pages,
 * event sockets and consoles too.
 */

import type * as z from 'zod'
import {
  may,
  mayOnSite,
  OBJECT_PRIVILEGES,
  type ObjectKind,
  PRIVILEGES,
  type Privilege,
  privilegesOn,
  projectPrivileges,
} from '#lib/auth/privileges.ts'
import { ProjectId, UserId } from '#lib/schema/ids.ts'
import type { ObjectAccess, ObjectAccessPatch, Party, Share } from '#lib/schema/project.ts'
import { Role } from '#lib/schema/user.ts'
import type { Access } from '#server/access/access.ts'
import { type PlacementDocument, placementKey } from '#server/access/documents.ts'
import type { Networks } from '#server/access/networks.ts'
import { defined, memoryOf, type Quotas } from '#server/access/quotas.ts'
import type { ImageLibrary } from '#server/images/library.ts'
import { sharedDisksOf } from '#server/storage/shared-disks.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Store } from '#server/store/types.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Names } from './project-names.ts'
import type { Caller, ObjectAccessEngine } from './types.ts'
import { holderFor } from './vm-place.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

type Patch = z.output<typeof ObjectAccessPatch>

export interface ObjectAccessDeps {
  readonly store: Store
  readonly access: Access
  readonly quotas: Quotas
  readonly records: VmRecords
  readonly volumes: Volumes
  readonly library: ImageLibrary
  readonly journal: Journal
  readonly locks: KeyedLock
  readonly names: Names
  readonly networks: Pick<Networks, 'isOpen'>
  readonly snapshotsOf: (vmId: string) => number
  readonly runningSpec: (vmId: string) => VmRecord['spec'] | null
  readonly announce: (record: VmRecord) => void
  readonly now?: () => Date
}

/** What an object of each kind takes to be put into a project. */
const TO_CREATE: Readonly<Record<ObjectKind, Privilege>> = {
  vm: 'vm.create',
  image: 'image.add',
  volume: 'volume.change',
}

interface Subject {
  readonly kind: ObjectKind
  readonly id: string
  readonly name: string
  readonly ownerId: string
}

export function createObjectAccess(deps: ObjectAccessDeps): ObjectAccessEngine {
  const { store, access, quotas, records, volumes, library, journal, locks, names, networks } = deps

  const subjectOf = (kind: ObjectKind, id: string): Subject => {
    if (kind === 'vm') {
      const record = records.get(id)
      if (record !== null) return { kind, id, name: record.spec.name, ownerId: record.ownerId }
    } else if (kind === 'image') {
      const document = library.get(id)
      if (document !== null) return { kind, id, name: document.name, ownerId: document.addedBy.id }
    } else {
      const volume = volumes.get(id)
      if (volume !== null) {
        if (volume.vm !== null)
          throw new EngineError('conflict', 'This disk belongs to a VM: who reaches the VM reaches it.')
        return { kind, id, name: volume.name, ownerId: volume.ownerId }
      }
    }
    throw new EngineError('not_found', 'There is no such thing.')
  }

  const requireSubject = (caller: Caller, kind: ObjectKind, id: string): Subject => {
    const subject = subjectOf(kind, id)
    if (privilegesOn(caller, subject).size === 0) throw new EngineError('not_found', 'There is no such thing.')
    return subject
  }

  const revisionOf = ({ kind, id }: Subject): number => store.get('placement', placementKey(kind, id))?.revision ?? 0
  const view = (caller: Caller, subject: Subject): ObjectAccess => {
    const { projectId, shares } = access.placement(subject.kind, subject.id)
    const privileges = privilegesOn(caller, subject)
    const may = privileges.has('share.manage')
    const project = projectId === null ? undefined : access.projects.get(projectId)
    return {
      owner: { id: UserId.parse(subject.ownerId), name: names.person(subject.ownerId) },
      project: project === undefined ? null : { id: ProjectId.parse(project.id), name: project.name },
      // With whom else is the business of those who may change it.
      shares: may ? shares.map(({ to, role }) => ({ ...({ to, role } as Share), name: names.party(to as Party) })) : [],
      privileges: PRIVILEGES.filter((verb) => privileges.has(verb)),
      reason: may ? null : 'Who may manage shares decides this: the owner, or an operator of its project.',
      revision: revisionOf(subject),
    }
  }

  const verbsOf = (role: string): readonly Privilege[] => {
    const builtIn = Role.safeParse(role)
    const verbs = builtIn.success ? projectPrivileges(builtIn.data, true) : access.roles.get(role)?.privileges
    if (verbs === undefined) throw new EngineError('bad_input', 'There is no such role.', { field: 'shares' })
    return verbs.filter((verb) => (OBJECT_PRIVILEGES as readonly Privilege[]).includes(verb))
  }
  /** @throws EngineError bad_input, forbidden */
  const assertShareable = (caller: Caller, subject: Subject, before: PlacementDocument, shares: readonly Share[]) => {
    const own = privilegesOn(caller, subject)
    shares.forEach(({ to, role }, index) => {
      const kept = before.shares.some((old) => old.to.type === to.type && old.to.id === to.id && old.role === role)
      if (kept) return
      if (!names.isKnown(to))
        throw new EngineError('bad_input', 'There is nobody of this id.', { field: `shares.${index}.to` })
      const beyond = verbsOf(role).filter((verb) => !own.has(verb))
      if (beyond.length > 0)
        throw new EngineError('forbidden', `You cannot give what you may not do yourself: ${beyond.join(', ')}.`, {
          field: `shares.${index}.role`,
        })
    })
  }
  /**
   * Whoever it is shared with may not take it away: in a project its owner reaches it as one of its people alone.
   * @throws EngineError not_found, forbidden, conflict
   */
  const assertMayMove = (caller: Caller, subject: Subject, from: string | null, to: string | null): void => {
    const decides =
      from === null
        ? subject.kind === 'image' && mayOnSite(caller, 'image.common')
        : access.inProject(caller.userId, from).has('project.manage')
    if (subject.ownerId !== caller.userId && caller.role !== 'admin' && !decides)
      throw new EngineError(
        'forbidden',
        from === null
          ? 'Only its owner or an administrator puts this into a project.'
          : 'Only its owner, who manages the project, or an administrator takes this out of the project.',
        { field: 'projectId' },
      )
    if (to === null) return
    const verbs = access.inProject(caller.userId, to)
    const project = access.projects.get(to)
    if (project === undefined || verbs.size === 0)
      throw new EngineError('not_found', 'There is no such project.', { field: 'projectId' })
    if (project.archivedAt !== null)
      throw new EngineError('conflict', `The project ${project.name} is archived.`, { field: 'projectId' })
    if (!verbs.has(TO_CREATE[subject.kind]))
      throw new EngineError('forbidden', `Your role in ${project.name} does not let you add to it.`, {
        field: 'projectId',
      })
  }
  /** A card on a bridge stays one whose VM may have it. @throws EngineError forbidden */
  const assertReaches = (caller: Caller, { spec }: VmRecord, projectId: string | null): void => {
    if (may(caller, 'vm.host')) return
    for (const { network, bridge } of spec.networks)
      if (network === 'bridge' && bridge !== null && !networks.isOpen(bridge, projectId))
        throw new EngineError(
          'forbidden',
          `It has a network card on the bridge ${bridge}, which is not open to ${projectId === null ? 'everybody' : 'that project'}; take the card off it first, or ask an administrator.`,
          { field: 'projectId' },
        )
  }
  /** @throws EngineError forbidden, bad_input, conflict, name_taken */
  const assertMayGive = (caller: Caller, { spec }: VmRecord, projectId: string | null, ownerId: string): void => {
    const manages = projectId !== null && access.inProject(caller.userId, projectId).has('project.manage')
    if (caller.role !== 'admin' && !(manages && access.inProject(ownerId, projectId).has('vm.create')))
      throw new EngineError('forbidden', 'Only an administrator gives a VM to somebody else.', { field: 'ownerId' })
    if (!names.isKnown({ type: 'person', id: UserId.parse(ownerId) }))
      throw new EngineError('bad_input', 'There is nobody of this id.', { field: 'ownerId' })
    if (sharedDisksOf(spec).length > 0)
      throw new EngineError('conflict', 'It has a disk shared with other VMs of its owner; take that out first.', {
        field: 'ownerId',
      })
    const fold = (name: string) => name.normalize('NFKC').toLowerCase()
    for (const claim of records.claims())
      if (claim.ownerId === ownerId && fold(claim.spec.name) === fold(spec.name))
        throw new EngineError('name_taken', `${names.person(ownerId)} already has a VM called ${spec.name}.`, {
          field: 'ownerId',
        })
  }
  const assertFits = (
    subject: Subject,
    record: VmRecord | null,
    ownerId: string,
    from: string | null,
    to: string | null,
  ) => {
    const [before, after] = [holderFor(subject.ownerId, from), holderFor(ownerId, to)]
    if (before.type === after.type && before.id === after.id) return
    if (record === null) {
      const sizeBytes = volumes.get(subject.id)?.sizeBytes ?? 0
      if (subject.kind === 'volume') quotas.assertFits(after, { diskGiB: Math.ceil(sizeBytes / 2 ** 30) })
      const image = subject.kind === 'image' ? library.get(subject.id) : null
      if (image !== null && image.path === null) quotas.assertFits(after, { libraryMiB: image.sizeBytes / 2 ** 20 })
      return
    }
    const running = deps.runningSpec(record.id)
    quotas.assertFits(after, {
      ...{ ...defined(record.spec), vms: 1, snapshots: deps.snapshotsOf(record.id) },
      ...(running !== null && { runningVcpus: running.cpus, runningMemoryMiB: memoryOf(running) }),
    })
  }

  const apply = (caller: Caller, subject: Subject, patch: Patch, expected: number | null): void => {
    const { kind, id } = subject
    if (expected !== null && expected !== revisionOf(subject))
      throw new EngineError(
        'stale_revision',
        'Somebody changed who reaches this since you loaded it. Nothing was saved.',
      )
    const before = access.placement(kind, id)
    const record = kind === 'vm' ? records.get(id) : null
    const ownerId = patch.ownerId ?? subject.ownerId
    const projectId = patch.projectId === undefined ? before.projectId : patch.projectId
    if (patch.shares !== undefined) assertShareable(caller, subject, before, patch.shares)
    if (projectId !== before.projectId) assertMayMove(caller, subject, before.projectId, projectId)
    if (projectId !== before.projectId && record !== null) assertReaches(caller, record, projectId)
    if (ownerId !== subject.ownerId) {
      if (record === null) throw new EngineError('bad_input', 'Only a VM changes its owner.', { field: 'ownerId' })
      assertMayGive(caller, record, projectId, ownerId)
    }
    assertFits(subject, record, ownerId, before.projectId, projectId)
    const after: PlacementDocument = { v: 1, projectId, shares: patch.shares ?? before.shares }
    const place = () => void store.put('placement', placementKey(kind, id), after)
    let moved: VmRecord | null = record
    if (record !== null && ownerId !== record.ownerId) {
      const at = (deps.now ?? (() => new Date()))().toISOString()
      moved = records.giveTo(record, ownerId, at, record.revision, () => {
        for (const volume of volumes.ofVm(id)) volumes.change(volume.id, { ownerId })
        place()
      })
      if (moved === null)
        throw new EngineError('stale_revision', 'This VM changed meanwhile. Nothing was saved: try again.')
    }
    // After the record: whoever hears of it looks at both.
    place()
    const words = [
      ...(projectId === before.projectId
        ? []
        : [projectId === null ? 'took it out of its project' : `moved it to the project ${names.project(projectId)}`]),
      ...(ownerId === subject.ownerId ? [] : [`gave it to ${names.person(ownerId)}`]),
      ...(patch.shares === undefined
        ? []
        : [
            after.shares.length === 0
              ? 'shares it with nobody'
              : `shares it with ${after.shares.map(({ to, role }) => `${names.party(to as Party)} (${names.role(role)})`).join(', ')}`,
          ]),
    ]
    journal.write({
      ...{ what: `${kind}AccessUpdate`, result: 'ok', caller, topic: kind, durable: true, ownerId },
      text: `${subject.name}: ${caller.name} ${words.length === 0 ? 'changed nothing' : words.join(', ')}.`,
      ...{ objectId: id, objectName: subject.name },
    })
    if (moved !== null) deps.announce(moved)
  }

  return {
    view: async (caller, kind, id) => view(caller, requireSubject(caller, kind, id)),
    async update(caller, kind, id, patch, expected) {
      await locks.run(id, async () => apply(caller, requireSubject(caller, kind, id), patch, expected))
      const subject = subjectOf(kind, id)
      // Who gave it away sees it a last time.
      return view(caller, subject)
    },
  }
}
