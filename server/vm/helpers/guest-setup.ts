/** What a guest needs between "QEMU answers" and its first instruction. */
import { QmpCommandError } from '#server/qmp/errors.ts'
import { redact } from '../failures.ts'
import type { Guest } from '../guest.ts'
import { HostFault } from './fault.ts'
import { pinCpus } from './pins.ts'

/** Seconds between the balloon driver's reports. */
const BALLOON_POLL_SECONDS = 10
const MIB = 1024 * 1024

/**
 * Runs the plan's monitor commands, sets the balloon, binds virtual CPUs. Idempotent: also run for a guest that the
 * dashboard left before its first instruction.
 * @throws HostFault when QEMU refuses a command or a CPU cannot be bound; QmpError
 */
export async function setUpGuest(guest: Guest): Promise<void> {
  const { plan, spec } = guest.record ?? {}
  for (const { execute, arguments: args, what } of plan?.commands ?? []) {
    await obeyed(guest.ask(execute, { ...args }), what)
  }
  if (guest.balloonId !== null) {
    // Statistics are a comfort; a guest without them still runs.
    void guest
      .ask('qom-set', {
        path: `/machine/peripheral/${guest.balloonId}`,
        property: 'guest-stats-polling-interval',
        value: BALLOON_POLL_SECONDS,
      })
      .catch(() => null)
    const target = spec?.balloonTargetMiB ?? null
    if (target !== null) {
      await obeyed(guest.ask('balloon', { value: target * MIB }), `Asks the guest to make do with ${target} MiB.`)
    }
  }
  await pinCpus(guest, plan?.pins ?? [])
}

/** @param what the command does, as a sentence */
async function obeyed(answer: Promise<unknown>, what: string): Promise<void> {
  try {
    await answer
  } catch (error) {
    if (!(error instanceof QmpCommandError)) throw error
    throw new HostFault(
      {
        code: 'bad-option',
        summary: `QEMU refused something the VM's definition asks for: ${redact(error.desc)}`,
        advice: `It was asked for this: ${what}`,
      },
      { cause: error },
    )
  }
}
