/** Seeds as the API knows them: seeing, replacing, removing; and taking out what was used. */
import { may } from '#lib/auth/privileges.ts'
import type { SeedInput } from '#lib/schema/seed.ts'
import { hashGuestPassword } from '#server/seed/sha512-crypt.ts'
import type { Supervisor } from '#server/vm/types.ts'
import { LOOK_ONLY, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import { seedsIn, withoutSeed, withSeed } from './seed-drive.ts'
import type { Seeds } from './seeds.ts'
import type { Caller, SeedEngine } from './types.ts'
import type { VmDefiner } from './vm-define.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

/** How often a change that somebody else's got ahead of is tried again. */
const ATTEMPTS = 3

export interface VmSeeds extends SeedEngine {
  /** Puts right what a crash left. */
  open(): Promise<void>
  /** Takes a used seed out, as was asked when it was made. */
  takeOut(vmId: string): Promise<void>
  used(vmId: string, why: string): void
}

export interface VmSeedDeps {
  readonly records: VmRecords
  readonly supervisor: Supervisor
  readonly seeds: Seeds
  readonly definer: VmDefiner
  readonly journal: Journal
}

export function createVmSeeds(deps: VmSeedDeps): VmSeeds {
  const { records, supervisor, seeds, definer, journal } = deps

  const namedBy = (record: VmRecord) => [
    ...seedsIn(record.spec),
    ...seedsIn(supervisor.runtime(record.id).launchedSpec),
  ]
  const viewOf = (vmId: string) => {
    const record = records.get(vmId)
    if (record === null) return null
    const drives = record.spec.disks.map((drive) => ({
      id: drive.id,
      seed: drive.device === 'cdrom' ? drive.seed : null,
    }))
    return seeds.view(vmId, drives, seedsIn(supervisor.runtime(vmId).launchedSpec))
  }

  /** Against the definition as it is, which somebody may change at the same moment. */
  const change = async (caller: Caller, vmId: string, patchOf: (record: VmRecord) => ReturnType<typeof withSeed>) => {
    for (let attempt = 1; ; attempt += 1) {
      const record = records.get(vmId)
      if (record === null) throw new EngineError('not_found', 'There is no such VM.')
      try {
        return await definer.update(caller, vmId, patchOf(record), record.revision, 'now')
      } catch (error) {
        if (!(error instanceof EngineError && error.code === 'stale_revision') || attempt === ATTEMPTS) throw error
      }
    }
  }

  const replace = async (caller: Caller, record: VmRecord, input: SeedInput): Promise<void> => {
    const seedId = seeds.newId()
    const subject = {
      id: record.id,
      uid: record.uid,
      name: record.spec.name,
      macs: record.spec.networks.map((card) => card.mac),
    }
    await using undo = new AsyncDisposableStack()
    await seeds.write(input, seedId, subject, caller.name, undo)
    await change(caller, record.id, ({ spec }) => withSeed(spec, { id: seedId, bus: input.bus }))
    undo.move()
    seeds.named(seedId)
  }

  const assertMay = (caller: Caller): void => {
    if (!may(caller, 'vm.change')) throw new EngineError('forbidden', LOOK_ONLY)
  }

  /** On behalf of whoever owns the VM: what happens was asked for when the seed was made. */
  const asOwner = (record: VmRecord): Caller => ({
    userId: record.ownerId,
    name: 'Guestdeck',
    role: 'admin',
    from: '',
    credentialId: '',
    via: 'session',
  })

  const tell = (record: VmRecord, what: string, text: string): void =>
    journal.write({
      what,
      text,
      result: 'info',
      caller: null,
      topic: 'vm',
      objectId: record.id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })

  const takeOut = async (vmId: string): Promise<void> => {
    const record = records.get(vmId)
    if (record === null || seedsIn(record.spec).length === 0) return
    await change(asOwner(record), vmId, ({ spec }) => withoutSeed(spec))
    tell(record, 'vmSeedRemoved', `The seed of ${record.spec.name} was taken out and deleted, as it was used.`)
  }

  return {
    async view(caller, vmId) {
      requireVm(records, caller, vmId)
      assertMay(caller)
      return { seed: viewOf(vmId) }
    },
    async replace(caller, vmId, input) {
      const record = requireVm(records, caller, vmId)
      return journal.vmOperation('vmSeedReplace', caller, record, 'gave a seed to', async () => {
        assertMay(caller)
        await replace(caller, record, input)
        return { seed: viewOf(vmId) }
      })
    },
    async remove(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      await journal.vmOperation('vmSeedRemove', caller, record, 'took the seed out of', async () => {
        assertMay(caller)
        if (seedsIn(record.spec).length === 0) return
        await change(caller, vmId, ({ spec }) => withoutSeed(spec))
      })
    },
    hash: (_caller, { password }) => ({ hash: hashGuestPassword(password) }),
    async open() {
      seeds.forgetAllBut(records.isStored)
      for (const record of records.all()) {
        const { state, launchedSpec } = supervisor.runtime(record.id)
        // A guest whose drives are not on record may have any seed.
        if (launchedSpec === null && state !== 'off' && state !== 'crashed') continue
        await seeds.sweep(record.id, namedBy(record))
        seeds.runtimeChanged(record.id, supervisor.runtime(record.id), null)
        if (seeds.leftIn(record.id, seedsIn(record.spec))) await takeOut(record.id)
      }
    },
    takeOut,
    used(vmId, why) {
      const record = records.get(vmId)
      if (record === null) return
      tell(record, 'vmSeedUsed', `The seed of ${record.spec.name} counts as used. ${why}`)
    },
  }
}
