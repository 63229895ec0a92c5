/** Doors of the facade behind which something is counted that definitions do not say: free disks, consoles. */
import type { Job } from '#lib/schema/job.ts'
import type { Access } from '#server/access/access.ts'
import type { Holder, Quotas } from '#server/access/quotas.ts'
import type { ConsoleSession } from '#server/console/types.ts'
import type { Volumes } from '#server/storage/volume-types.ts'
import type { Caller, VmEngine, VolumeEngine } from './types.ts'
import { holderFor } from './vm-place.ts'

export interface QuotaDoorDeps {
  readonly quotas: Quotas
  readonly access: Access
  readonly volumes: Volumes
}

export interface QuotaDoors {
  volumes(engine: VolumeEngine): VolumeEngine
  vms<T extends VmEngine>(engine: T): T
  jobChanged(job: Pick<Job, 'id' | 'endedAt'>): void
  consoleOpened(session: ConsoleSession): void
  consoleClosed(session: ConsoleSession): void
}

const GIB = 2 ** 30
/** A console ticket that nobody used by then is void. */
const TICKET_MS = 30_000

export function createQuotaDoors(deps: QuotaDoorDeps): QuotaDoors {
  const { quotas, access, volumes } = deps
  const person = (caller: Caller): Holder => ({ type: 'person', id: caller.userId })
  /** What is given back when a job is over. */
  const untilOver = new Map<string, () => void>()
  const keepUntilOver = (job: Job, release: () => void): void => {
    if (job.endedAt !== null) release()
    else untilOver.set(job.id, release)
  }
  /** Consoles asked for and not opened yet, by person, oldest first. */
  const asked = new Map<string, (() => void)[]>()
  const open = new Map<string, () => void>()

  const during = async <T>(release: () => void, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } finally {
      release()
    }
  }

  return {
    volumes: (engine) => ({
      ...engine,
      create: async (caller, input) =>
        during(quotas.hold(person(caller), 'diskGiB', input.sizeGiB), () => engine.create(caller, input)),
      async copy(caller, id, input) {
        const size = Math.ceil((volumes.get(id)?.sizeBytes ?? 0) / GIB)
        const release = quotas.hold(person(caller), 'diskGiB', size)
        try {
          const job = await engine.copy(caller, id, input)
          keepUntilOver(job, release)
          return job
        } catch (error) {
          release()
          throw error
        }
      },
      async grow(caller, id, sizeGiB) {
        const volume = volumes.get(id)
        // That of a VM is judged with the VM.
        if (volume === null || volume.vm !== null) return engine.grow(caller, id, sizeGiB)
        const more = sizeGiB - Math.ceil(volume.sizeBytes / GIB)
        const release = quotas.hold(
          holderFor(volume.ownerId, access.projectOf('volume', id)),
          'diskGiB',
          Math.max(0, more),
        )
        return during(release, () => engine.grow(caller, id, sizeGiB))
      },
    }),
    vms: (engine) => ({
      ...engine,
      async consoleTicket(caller, id, input) {
        const release = quotas.hold(person(caller), 'consoles')
        try {
          const ticket = await engine.consoleTicket(caller, id, input)
          const mine = asked.get(caller.userId) ?? []
          asked.set(caller.userId, mine)
          const forget = () => {
            clearTimeout(timer)
            const at = mine.indexOf(forget)
            if (at >= 0) mine.splice(at, 1)
            release()
          }
          const timer = setTimeout(forget, TICKET_MS)
          timer.unref()
          mine.push(forget)
          return ticket
        } catch (error) {
          release()
          throw error
        }
      },
    }),
    jobChanged({ id, endedAt }) {
      if (endedAt === null) return
      untilOver.get(id)?.()
      untilOver.delete(id)
    },
    consoleOpened({ id, grant }) {
      // The ticket it came with no longer counts; the console does, whatever the quota: it was asked for in time.
      if (grant.guest === null) asked.get(grant.userId)?.[0]?.()
      // A guest's counts as that of whoever let them in.
      const holder = grant.guest?.byUserId ?? grant.userId
      open.set(id, quotas.count({ type: 'person', id: holder }, 'consoles'))
    },
    consoleClosed({ id }) {
      open.get(id)?.()
      open.delete(id)
    },
  }
}
