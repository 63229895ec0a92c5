/**
 * All VMs of this host: one actor each, one sampling clock, one adoption at start.
 *
 *   engine ──▶ Supervisor ──▶ VmActor (mailbox, model) ──▶ Guest (monitor, serial, process)
 *                 ▲                                            │
 *                 └────────── onChange(runtime, exit) ─────────┘
 */
import type { VmExit } from '#lib/schema/vm-state.ts'
import type { ControlGroups } from '#server/cgroups/groups.ts'
import { EngineError } from '#server/engine/errors.ts'
import { vmRunPaths } from '#server/paths.ts'
import { type Clock, systemClock } from '#server/platform/clock.ts'
import { readBootId } from '#server/platform/fs.ts'
import { VmActor } from './actor.ts'
import { adoptEach } from './adopt.ts'
import type { CreateSerialHub } from './guest.ts'
import type { ActorDeps } from './hold.ts'
import { readDevices } from './hotplug/tree.ts'
import { SamplerClock } from './sampler.ts'
import type { LadderTimes } from './stop.ts'
import type { AdoptReport, Supervisor, VmRuntime } from './types.ts'

export interface SupervisorDeps {
  /** Directory of the VMs' run directories. */
  readonly runDir: string
  /** Opens a VM's serial console and never stops reading it; `server/console/serial-hub.ts`. */
  readonly createSerialHub: CreateSerialHub
  readonly clock?: Clock
  /** Identity of this boot of the host; read from the kernel unless given. */
  readonly bootId?: string
  /** Faults that concern the dashboard's operator. */
  warn?(message: string, error?: unknown): void
  /** Milliseconds; for tests. */
  readonly ladder?: LadderTimes
  readonly shutdownPatienceMs?: number
  readonly unplugMs?: number
  /** Makes control groups for guests; left out: they get none. */
  readonly groups?: ControlGroups
}

type Listener = (vmId: string, runtime: VmRuntime, exited: VmExit | null) => void

export function createSupervisor(deps: SupervisorDeps): Supervisor {
  const clock = deps.clock ?? systemClock
  const samplers = new SamplerClock(() => clock.monotonicMs())
  const actors = new Map<string, VmActor>()
  const listeners = new Set<Listener>()
  const warn = (message: string, error?: unknown) => deps.warn?.(message, error)
  const actorDeps: ActorDeps = {
    clock,
    bootId: deps.bootId ?? readBootId(),
    createSerialHub: deps.createSerialHub,
    samplers,
    ...(deps.ladder && { ladder: deps.ladder }),
    ...(deps.shutdownPatienceMs !== undefined && { shutdownPatienceMs: deps.shutdownPatienceMs }),
    ...(deps.unplugMs !== undefined && { unplugMs: deps.unplugMs }),
    ...(deps.groups && { groups: deps.groups }),
    warn,
    publish: (vmId, runtime, exited) => {
      for (const listener of [...listeners]) {
        try {
          listener(vmId, runtime, exited)
        } catch (error) {
          // One listener's fault must not keep the others, or the VM, from going on.
          warn(`A listener failed on a change of VM ${vmId}`, error)
        }
      }
    },
  }

  const make = (vmId: string, lastExit: VmExit | null): VmActor => {
    const actor = new VmActor(vmId, vmRunPaths(deps.runDir, vmId), lastExit, actorDeps)
    actors.set(vmId, actor)
    return actor
  }

  const of = (vmId: string): VmActor => {
    const actor = actors.get(vmId)
    if (!actor) throw new EngineError('not_found', 'There is no such VM.')
    return actor
  }

  return {
    adoptAll: async (known): Promise<AdoptReport> => {
      const fresh = new Map<string, VmActor>()
      for (const [vmId, { lastExit }] of known) {
        fresh.set(vmId, actors.get(vmId) ?? make(vmId, lastExit))
      }
      const report = await adoptEach(fresh, { runDir: deps.runDir, bootId: actorDeps.bootId, clock, warn })
      await deps.groups?.sweep(new Set([...actors].flatMap(([vmId, actor]) => (actor.hasProcess ? [vmId] : []))))
      return report
    },
    register: (vmId) => {
      if (!actors.has(vmId)) make(vmId, null)
    },
    forget: (vmId) => {
      const actor = actors.get(vmId)
      if (!actor) return
      if (actor.hasProcess) throw new EngineError('wrong_state', 'Shut the guest down first.')
      actors.delete(vmId)
    },
    runtime: (vmId) => of(vmId).runtime,
    start: async (vmId, by, prepare) => await of(vmId).start(by, prepare),
    shutdown: async (vmId, by) => await of(vmId).shutdown(by),
    poweroff: async (vmId, by) => await of(vmId).poweroff(by),
    reset: async (vmId, by) => await of(vmId).reset(by),
    pause: async (vmId, by) => await of(vmId).pause(by),
    resume: async (vmId, by) => await of(vmId).resume(by),
    change: async (vmId, change) => await of(vmId).change(change),
    devices: async (vmId) => await of(vmId).look(readDevices),
    work: async (vmId, run) => await of(vmId).work(run),
    screenshot: async (vmId) => await of(vmId).screenshot(),
    vncSocket: (vmId) => actors.get(vmId)?.vncSocket ?? null,
    serialHub: (vmId) => actors.get(vmId)?.serialHub ?? null,
    onChange: (listener) => {
      const mine: Listener = (vmId, runtime, exited) => listener(vmId, runtime, exited)
      listeners.add(mine)
      return () => {
        listeners.delete(mine)
      }
    },
    setInterest: (watching) => samplers.setWatched(watching),
    detach: async () => {
      samplers.stop()
      await Promise.all([...actors.values()].map((actor) => actor.detach()))
      listeners.clear()
    },
  }
}
