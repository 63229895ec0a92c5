/** VMs as the API knows them: seeing, power, consoles. Creating and changing them is in `vm-define.ts`. */
import { randomUUID } from 'node:crypto'
import { consolePath } from '#lib/api/contract.ts'
import { mayOn, type Privilege, privilegesOn } from '#lib/auth/privileges.ts'
import type { VmSpecPatch } from '#lib/schema/vm-spec.ts'
import type { Vm, VmExit } from '#lib/schema/vm-state.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import type { Tickets } from '#server/console/types.ts'
import type { Supervisor, VmRuntime } from '#server/vm/types.ts'
import { canSeeVm, LOOK_ONLY, requireVm, viewpointOf } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { KeyedLock } from './keyed-lock.ts'
import type { Launcher } from './launch.ts'
import { linkDevices } from './live-change.ts'
import { createRestarts } from './restarts.ts'
import type { StartAdmission } from './start-admission.ts'
import type { Caller, VmEngine } from './types.ts'
import type { RunningVm, VmAuthority } from './vm-authority.ts'
import type { VmBusy } from './vm-busy.ts'
import type { VmDefiner } from './vm-define.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'
import type { VmViews } from './vm-views.ts'

export interface VmEngineDeps {
  readonly records: VmRecords
  readonly views: VmViews
  readonly supervisor: Supervisor
  readonly launcher: Launcher
  readonly definer: VmDefiner
  readonly journal: Journal
  readonly tickets: Tickets
  readonly locks: KeyedLock
  readonly busy: VmBusy
  readonly admission: StartAdmission
  readonly authority: VmAuthority
  /** Running VMs but the one given: what they hold of the host. */
  readonly runningBut: (vmId: string) => readonly RunningVm[]
  /** @throws EngineError where the VM is a template that others stand on, or the change would change its disks */
  readonly templates: {
    assertMayDelete(caller: Caller, record: VmRecord): void
    assertMayChange(id: string, patch: VmSpecPatch): void
  }
  /** @throws EngineError conflict where a lease is over or a device is booked by another */
  readonly assertMayRun: (vmId: string) => void
  /** It stays paused although its disks alone stopped it. @returns false when they did not @throws EngineError no_space */
  readonly holdPaused: (vmId: string, by: string) => boolean
  /** Whether it has snapshots that lie inside its files. */
  readonly holdsMemory: (vmId: string) => boolean
  /** Makes another sample rate worthwhile for a while. */
  readonly watched: () => void
}

export interface VmEngineWithText extends VmEngine {
  /** The answer of `list` as JSON text, joined from cached pieces. */
  listText(caller: Caller): string
  /** For `Supervisor.onChange`. */
  runtimeChanged(vmId: string, runtime: VmRuntime, exited: VmExit | null): void
  /** Starts one on behalf of the dashboard itself. */
  autostart(record: VmRecord): Promise<void>
}

export function createVmEngine(deps: VmEngineDeps): VmEngineWithText {
  const { records, views, supervisor, launcher, definer, journal, tickets, locks, busy } = deps

  const visible = (caller: Caller) => records.all().filter((record) => canSeeVm(caller, record))
  const viewpoint = (record: VmRecord, caller: Caller) => viewpointOf(privilegesOn(caller, record))
  const shown = (record: VmRecord, caller: Caller): Vm => views.view(record, viewpoint(record, caller))
  /** The record may have been replaced while the caller waited. */
  const current = (record: VmRecord, caller: Caller): Vm => shown(records.get(record.id) ?? record, caller)

  const power = (
    what: string,
    done: string,
    run: (record: VmRecord, caller: Caller) => Promise<VmRuntime>,
  ): ((caller: Caller, id: string) => Promise<Vm>) => {
    return async (caller, id) => {
      const record = requireVm(records, caller, id)
      return journal.vmOperation(what, caller, record, done, async () => {
        assertMay(caller, record, 'vm.power')
        await run(record, caller)
        return current(record, caller)
      })
    }
  }

  const start = async (id: string, by: string): Promise<VmRuntime> => {
    try {
      return await launch(id, by)
    } finally {
      deps.admission.settle(id)
    }
  }
  const launch = (id: string, by: string): Promise<VmRuntime> =>
    supervisor.start(id, by, () =>
      // A change of the definition that is under way finishes first; the start takes its result.
      locks.run(id, async () => {
        const record = records.get(id)
        if (record === null) throw new EngineError('not_found', 'There is no such VM.')
        busy.assertFree(id, 'start')
        await deps.authority.assertLaunchable(record.spec, deps.runningBut(id))
        await definer.readyDisks(record)
        // In one step with what follows: of two starts that would pass a limit together, one is refused.
        deps.admission.admit(record)
        return launcher.prepare(record)
      }),
    )

  /** For what the dashboard does by itself in somebody's name. */
  const writeFor = (what: string, id: string, by: string, text: string, result: 'ok' | 'failed'): void => {
    const record = records.get(id)
    if (record === null) return
    journal.write({
      what,
      text,
      result,
      caller: null,
      who: by,
      topic: 'vm',
      objectId: id,
      objectName: record.spec.name,
      ownerId: record.ownerId,
    })
  }
  const nameOf = (id: string) => records.get(id)?.spec.name ?? 'A deleted VM'
  const restarts = createRestarts({
    supervisor,
    async start(id, by) {
      try {
        await start(id, by)
        writeFor('vmStart', id, by, `${nameOf(id)} was started again, as ${by} asked.`, 'ok')
      } catch (error) {
        const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
        writeFor('vmStart', id, by, `${nameOf(id)} was not started again: ${why}`, 'failed')
      }
    },
    onGivenUp: (id, by, why) => writeFor('vmRestart', id, by, `${nameOf(id)}: ${why}`, 'failed'),
  })

  return {
    runtimeChanged: restarts.changed,
    async list(caller) {
      deps.watched()
      return { items: visible(caller).map((record) => shown(record, caller)) }
    },
    listText(caller) {
      deps.watched()
      return `{"items":[${visible(caller)
        .map((record) => views.text(record, viewpoint(record, caller)))
        .join(',')}]}`
    },
    async view(caller, id) {
      deps.watched()
      return shown(requireVm(records, caller, id), caller)
    },
    create: async (caller, { seed, project, ...input }) =>
      shown(await definer.create(caller, input, seed, project), caller),
    preview: (caller, { seed, project, ...input }) => definer.preview(caller, input, seed, project),
    async update(caller, id, patch, expectedRevision, query) {
      const record = requireVm(records, caller, id)
      return journal.vmOperation('vmUpdate', caller, record, 'changed', async () => {
        assertMay(caller, record, 'vm.change')
        busy.assertFree(id, 'change')
        deps.templates.assertMayChange(id, patch)
        const apply = query?.apply ?? 'now'
        return shown(await definer.update(caller, id, patch, expectedRevision, apply), caller)
      })
    },
    async previewChange(caller, id, patch) {
      const record = requireVm(records, caller, id)
      assertMay(caller, record, 'vm.change')
      return definer.previewChange(caller, id, patch)
    },
    async resetFirmware(caller, id) {
      const record = requireVm(records, caller, id)
      return journal.vmOperation('vmFirmwareReset', caller, record, 'reset the UEFI variables of', async () => {
        assertMay(caller, record, 'vm.change')
        busy.assertFree(id, 'change')
        if (deps.holdsMemory(id))
          throw new EngineError(
            'wrong_state',
            'The snapshots of this VM keep their UEFI variables inside the file that a reset replaces: delete the snapshots first.',
          )
        return shown(await definer.resetFirmware(id), caller)
      })
    },
    async delete(caller, id, expectedRevision, disks = 'trash') {
      const record = requireVm(records, caller, id)
      await journal.vmOperation('vmDelete', caller, record, 'deleted', async () => {
        assertMay(caller, record, 'vm.delete')
        busy.assertFree(id, 'delete')
        deps.templates.assertMayDelete(caller, record)
        await definer.delete(caller, id, expectedRevision, disks)
      })
    },
    start: power('vmStart', 'started', (record, caller) => start(record.id, caller.name)),
    restart: power('vmRestart', 'asked to restart', (r, caller) => restarts.ask(r.id, caller.name)),
    shutdown: power('vmShutdown', 'asked to shut down', (r, caller) => {
      restarts.forget(r.id)
      return supervisor.shutdown(r.id, caller.name)
    }),
    poweroff: power('vmPoweroff', 'cut the power of', (r, caller) => {
      restarts.forget(r.id)
      return supervisor.poweroff(r.id, caller.name)
    }),
    reset: power('vmReset', 'reset', (r, caller) => {
      restarts.forget(r.id)
      return supervisor.reset(r.id, caller.name)
    }),
    pause: power('vmPause', 'paused', async (r, caller) =>
      deps.holdPaused(r.id, caller.name) ? supervisor.runtime(r.id) : supervisor.pause(r.id, caller.name),
    ),
    resume: power('vmResume', 'resumed', async (r, caller) => {
      deps.assertMayRun(r.id)
      return supervisor.resume(r.id, caller.name)
    }),
    async commandLine(caller, id, { of }) {
      const record = requireVm(records, caller, id)
      const runtime = supervisor.runtime(id)
      if (of === 'next') return launcher.explain(record, runtime.launchedPlan)
      const line = launcher.explainRunning(runtime, record.spec.accelerator)
      if (line === null)
        throw new EngineError('wrong_state', 'It is not running, so there is no command line of what runs.')
      return line
    },
    async devices(caller, id) {
      const record = requireVm(records, caller, id)
      const found = await supervisor.devices(id)
      return { items: linkDevices(found, record.spec, supervisor.runtime(id)) }
    },
    async screenshot(caller, id, query) {
      const record = requireVm(records, caller, id)
      const png = await supervisor.screenshot(record.id)
      return query.width === undefined ? png : definer.thumbnail(png, query.width)
    },
    async consoleTicket(caller, id, { kind, mode, presence }) {
      const record = requireVm(records, caller, id)
      // That a console was opened is recorded when it is (`console-record.ts`).
      return journal.vmOperation('vmConsoleTicketCreate', caller, record, null, async () => {
        assertMay(caller, record, mode === 'control' ? 'vm.console.control' : 'vm.console.view')
        const { state } = supervisor.runtime(id)
        const allowed = allowedAction(state, 'console')
        if (!allowed.allowed) throw new EngineError('wrong_state', allowed.reason ?? 'The guest is off.')
        const source = kind === 'vnc' ? supervisor.vncSocket(id) : supervisor.serialHub(id)
        if (source === null) {
          throw new EngineError(
            'wrong_state',
            kind === 'vnc' ? 'This guest has no screen now.' : 'This guest runs without a serial port.',
          )
        }
        const viewerId = randomUUID()
        const { ticket, expiresAt } = tickets.issue({
          userId: caller.userId,
          userName: caller.name,
          vmId: id,
          kind,
          mode,
          credentialId: caller.credentialId,
          viewerId,
          presence,
          manages: mayOn(caller, record, 'vm.console.manage'),
          guest: null,
        })
        return { ticket, path: consolePath(id, kind), viewer: viewerId, mode, expiresAt: expiresAt.toISOString() }
      })
    },
    async activity(caller, id, query) {
      const record = requireVm(records, caller, id)
      return { items: journal.ofVm(record.id, query) }
    },
    async autostart(record) {
      await start(record.id, 'autostart')
    },
  }
}

/** @throws EngineError forbidden */
function assertMay(caller: Caller, record: VmRecord, privilege: Privilege): void {
  if (!mayOn(caller, record, privilege)) throw new EngineError('forbidden', LOOK_ONLY)
}
