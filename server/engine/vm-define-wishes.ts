/** From what is asked for to a whole definition, and what refuses it: before anything is made. */
import { randomBytes } from 'node:crypto'
import type { SeedId } from '#lib/schema/ids.ts'
import type { SeedInput } from '#lib/schema/seed.ts'
import type { VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { guestOfImage } from '#server/images/documents.ts'
import { applyPatch, normalizeSpec } from '#server/spec/normalize.ts'
import type { NormalizeFacts } from '#server/spec/types.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { canSeeVm } from './access.ts'
import { EngineError } from './errors.ts'
import { canSeeImage } from './images.ts'
import { deviceIdsOf, placed } from './live-change.ts'
import { withSeed } from './seed-drive.ts'
import type { Caller } from './types.ts'
import { checkAgainstOthers } from './vm-checks.ts'
import type { DefineDeps, DerivedVm } from './vm-define-types.ts'
import type { DiskWishes } from './vm-disks.ts'
import { holderFor } from './vm-place.ts'

/** Id of the VM that a preview describes; never stored. */
export const PREVIEW_ID = '00000000-0000-7000-8000-000000000000'
/** The lowest vsock address that is not the host's or somebody's by custom. */
const FIRST_CID = 3

/** Locally administered prefix that QEMU and KVM tools use. */
const freshMac = (): string => `52:54:00:${[...randomBytes(3)].map((b) => b.toString(16).padStart(2, '0')).join(':')}`

export type VmWishes = ReturnType<typeof createVmWishes>

export function createVmWishes(deps: DefineDeps) {
  const { records, library, disks, seeds, authority, places } = deps

  /** @param before definition whose images stay usable, whatever became of them */
  const facts = async (caller: Caller, before: VmSpec | null = null): Promise<NormalizeFacts> => {
    const capabilities = await deps.capabilities.current()
    const kept = new Set<string | null | undefined>(before?.disks.map((drive) => drive.image))
    const images: NormalizeFacts['images'] = new Map(
      library
        .all()
        .filter((document) => kept.has(document.id) || canSeeImage(caller, document))
        .map((document) => {
          const { id, kind, virtualSizeBytes, inspected } = document
          const guest = guestOfImage(document)
          return [id, { kind, virtualSizeBytes, guest, bootModes: inspected?.bootModes ?? [] }]
        }),
    )
    const taken = new Set<string>()
    for (const claim of records.claims()) for (const card of claim.spec.networks) taken.add(card.mac)
    return {
      capabilities,
      images,
      nextMac() {
        for (;;) {
          const mac = freshMac()
          if (!taken.has(mac)) {
            taken.add(mac)
            return mac
          }
        }
      },
    }
  }

  /**
   * @param newSeed one that is being made for it
   * @throws EngineError name_taken, port_in_use, conflict, image_missing, bad_input
   */
  const check = (
    spec: VmSpec,
    caller: Caller,
    ownerId: string,
    selfId: string | null,
    newSeed: SeedId | null = null,
    projectId: string | null = null,
    wishes: DiskWishes = new Map(),
  ): void => {
    const holder = selfId === null ? holderFor(ownerId, projectId) : places.holderOf(selfId, ownerId)
    const before = selfId === null ? null : (records.get(selfId)?.spec ?? null)
    const takenOver = [...wishes.values()].flatMap(({ volumeId }) => {
      const volume = volumeId === null ? null : deps.volumes.get(volumeId)
      return volume === null || volume.vm !== null ? [] : [volume]
    })
    places.assertFits(holder, spec, before, takenOver)
    checkAgainstOthers(spec, {
      others: records.claims(),
      ownerId,
      selfId,
      dashboardPort: deps.dashboardPort(),
      canSee: (owner) => canSeeVm(caller, owner),
    })
    spec.disks.forEach((drive, index) => {
      if (drive.device === 'cdrom' && drive.seed !== null && drive.seed !== newSeed) {
        if (selfId === null || !seeds.has(selfId, drive.seed))
          throw new EngineError('bad_input', 'This VM has no such seed; give it one where its seed is set.', {
            field: `disks.${index}.seed`,
          })
      }
      if (drive.image !== null && !library.isPresent(drive.image)) {
        throw new EngineError(
          'image_missing',
          'The file of this image has gone or changed since it was added. Put it back, or choose another image.',
          { field: `disks.${index}.image` },
        )
      }
    })
  }

  /** @throws EngineError bad_input */
  const changed = (before: VmSpec, patch: VmSpecPatch, known: NormalizeFacts, runtime: VmRuntime): VmSpec => {
    const spec = placed(applyPatch(before, patch, { ...known, heldIds: deviceIdsOf(runtime) }), before, patch, runtime)
    return spec
  }

  const subjectOf = (id: string, uid: number | null, spec: VmSpec) => ({
    id,
    uid,
    name: spec.name,
    macs: spec.networks.map((card) => card.mac),
  })

  /** What is asked for, completed; with the drive of its seed. */
  const wanted = async (caller: Caller, asked: VmSpecInput, seed: SeedInput | undefined, projectId: string | null) => {
    places.assertMayCreate(caller, projectId)
    authority.assertMayAsk(caller, null, asked)
    const { input, wishes } = disks.resolve(caller, caller.userId, asked)
    const known = await facts(caller)
    const seedId = seed === undefined ? null : seeds.newId()
    let spec = normalizeSpec(input, known)
    if (seed !== undefined && seedId !== null) {
      spec = applyPatch(spec, withSeed(spec, { id: seedId, bus: seed.bus }), known)
      seeds.assertGood(seed, subjectOf(PREVIEW_ID, null, spec))
    }
    authority.assertMaySet(caller, null, spec, projectId)
    await authority.assertHostPaths(spec)
    return { spec, seedId, wishes }
  }

  /** Definition of a derived VM, with the drive of its seed. */
  const derived = async (caller: Caller, request: Pick<DerivedVm, 'spec' | 'seed' | 'from'>) => {
    const projectId = places.forCopy(caller, request.from)
    const known = await facts(caller)
    const cids = new Set([...records.claims()].flatMap((claim) => claim.spec.vsock?.cid ?? []))
    const nextCid = () => {
      let cid = FIRST_CID
      while (cids.has(cid)) cid += 1
      cids.add(cid)
      return cid
    }
    const seedId = request.seed === undefined ? null : seeds.newId()
    let spec = request.spec({ nextMac: known.nextMac, nextCid })
    if (request.seed !== undefined && seedId !== null) {
      spec = applyPatch(spec, withSeed(spec, { id: seedId, bus: request.seed.bus }), known)
      seeds.assertGood(request.seed, subjectOf(PREVIEW_ID, null, spec))
    }
    authority.assertMaySet(caller, null, spec, projectId)
    await authority.assertHostPaths(spec)
    return { spec, seedId, projectId }
  }

  return { facts, check, changed, subjectOf, wanted, derived }
}
