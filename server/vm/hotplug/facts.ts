/** What the running machine has, read from the plan it runs with. Pure. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { LiveFacts } from '#lib/vm/live-types.ts'
import { familyOf, SOCKETS } from '#server/spec/bus.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import { plugPart } from './qmp-of-option.ts'

interface PlanFacts {
  readonly ids: ReadonlySet<string>
  readonly rootPorts: number
  readonly sharedMemory: boolean
}

/** Memory the guest has from power-on, one back end for each NUMA node. */
const RAM = /^ram\d+$/

/** Plans are never changed, and views ask often. */
const known = new WeakMap<LaunchPlan, PlanFacts>()

function factsOfPlan(plan: LaunchPlan): PlanFacts {
  let facts = known.get(plan)
  if (facts === undefined) {
    const parts = plan.options.flatMap((option) => plugPart(option) ?? [])
    const devices = parts.filter((part) => part.kind === 'device')
    facts = {
      ids: new Set(devices.map((part) => part.id)),
      rootPorts: devices.filter((part) => part.add.arguments.driver === 'pcie-root-port').length,
      sharedMemory: parts.some(
        ({ kind, id, add }) => kind === 'object' && RAM.test(id) && add.arguments.share === true,
      ),
    }
    known.set(plan, facts)
  }
  return facts
}

/** @param plan null when it is not on record: then nothing can be plugged */
export function liveFacts(
  spec: Pick<VmSpec, 'machine'>,
  plan: LaunchPlan | null,
  canUnplugCpus: boolean,
  awaited: ReadonlyMap<string, string | null>,
): LiveFacts {
  if (plan === null) return { sockets: 0, has: () => false, canUnplugCpus, sharedMemory: false, awaited }
  const { ids, rootPorts, sharedMemory } = factsOfPlan(plan)
  const family = familyOf(spec.machine)
  const sockets = family === 'q35' ? rootPorts : family === 'pc' ? SOCKETS.pc : 0
  return { sockets, has: (id) => ids.has(id), canUnplugCpus, sharedMemory, awaited }
}
