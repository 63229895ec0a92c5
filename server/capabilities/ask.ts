/** The questions put to a throw-away QEMU; `assemble.ts` makes sense of the answers. */
import { type ChildUser, captureOutput } from '#server/platform/child.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { QmpClient } from '#server/qmp/types.ts'
import type { RawAnswers } from './assemble.ts'
import { INTROSPECTED_DEVICES, INTROSPECTED_OBJECTS } from './introspected.ts'
import { newestOf, readMachines } from './machines.ts'
import { askThrowaway, ThrowawayFailed, type ThrowawayOptions } from './throwaway.ts'

const TIMEOUT_MS = 20_000
/** Commands in flight at once: the client takes no more, and an answer can be large. */
const BURST = 16

export interface AskOptions {
  readonly binary: string
  readonly user: ChildUser | null
  /** Whether `/dev/kvm` opens for that user. Not needed for anything but what KVM can give a CPU. */
  readonly kvmOpens: boolean
  readonly signal?: AbortSignal | undefined
}

/** @throws ThrowawayFailed, QmpError, the system error when the binary cannot be started */
export async function askQemu(options: AskOptions): Promise<RawAnswers> {
  const { binary, user, signal } = options
  const process = { binary, user, signal, timeoutMs: TIMEOUT_MS, accelerator: 'tcg' } as const
  const [base, underKvm, microvmHelp, audiodevHelp, dataDirsHelp] = await Promise.all([
    askThrowaway(process, askBase),
    options.kvmOpens
      ? askThrowaway({ ...process, accelerator: 'kvm' }, (qmp) => askCpus(qmp, 'host')).catch(() => null)
      : null,
    readHelp(binary, ['-machine', 'microvm,help']),
    readHelp(binary, ['-audiodev', 'help']),
    readHelp(binary, ['-L', 'help']),
  ])
  const questions = listQuestions(base.machines)
  const properties = await askProperties(process, questions)
  return { ...base, underKvm, microvmHelp, audiodevHelp, dataDirsHelp, properties }
}

type Base = Omit<RawAnswers, 'underKvm' | 'microvmHelp' | 'audiodevHelp' | 'dataDirsHelp' | 'properties'>

async function askBase(qmp: QmpClient): Promise<Base> {
  const [schema, machines, underTcg, commandLineOptions, accelerators, types, objects, tpmTypes, cpuProperties] =
    await Promise.all([
      qmp.execute('query-qmp-schema'),
      qmp.execute('query-machines'),
      askCpus(qmp, 'max'),
      qmp.execute('query-command-line-options'),
      qmp.execute('qom-list-types', { implements: 'accel', abstract: false }),
      qmp.execute('qom-list-types', { abstract: false }),
      qmp.execute('qom-list-types', { implements: 'user-creatable', abstract: false }),
      qmp.execute('query-tpm-types').catch(ifRefused([])),
      qmp.execute('device-list-properties', { typename: 'max-x86_64-cpu' }).catch(ifRefused([])),
    ])
  return {
    version: qmp.version,
    schema,
    machines,
    underTcg,
    commandLineOptions,
    accelerators,
    types,
    objects,
    tpmTypes,
    cpuProperties,
  }
}

/** `max` is everything TCG emulates; `host` everything KVM can give. */
async function askCpus(qmp: QmpClient, widest: 'max' | 'host'): Promise<RawAnswers['underTcg']> {
  const [definitions, expansion] = await Promise.all([
    qmp.execute('query-cpu-definitions'),
    qmp.execute('query-cpu-model-expansion', { type: 'static', model: { name: widest } }).catch(ifRefused(null)),
  ])
  return { definitions, expansion }
}

/** A build may lack what is asked for; that is an answer. Anything else is a failure. */
function ifRefused<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof QmpCommandError) return instead
    throw error
  }
}

async function readHelp(binary: string, args: readonly string[]): Promise<string> {
  const output = await captureOutput(binary, args, { timeoutMs: TIMEOUT_MS })
  return output?.stdout ?? ''
}

/** One type to be asked for its properties. */
export interface PropertyQuestion {
  readonly command: 'device-list-properties' | 'qom-list-properties'
  readonly type: string
}

function listQuestions(answer: unknown): PropertyQuestion[] {
  const machines = readMachines(answer)
  const boards = (['q35', 'pc'] as const).map((family) => newestOf(machines, family)).filter((name) => name !== null)
  return [
    ...INTROSPECTED_DEVICES.map((type) => ({ command: 'device-list-properties', type }) as const),
    ...INTROSPECTED_OBJECTS.map((type) => ({ command: 'qom-list-properties', type }) as const),
    // A microvm is asked in another way: making one to look at it ends a QEMU 7.2 (assertion in acpi-microvm.c).
    ...boards.map((name) => ({ command: 'qom-list-properties', type: `${name}-machine` }) as const),
  ]
}

/** A QEMU that ends more often than this is broken, not only one of its devices. */
const MAX_DEATHS = 8

/**
 * Properties by type; a type this build lacks is absent. To answer, QEMU makes the device, and some builds have one that
 * ends the process when made. Such a type is left out as well, and the rest is asked of another throw-away, one by one.
 * @throws ThrowawayFailed when QEMU ends again and again; the system error when it cannot be started
 */
export async function askProperties(
  process: ThrowawayOptions,
  questions: readonly PropertyQuestion[],
): Promise<{ [type: string]: unknown }> {
  const answers: { [type: string]: unknown } = {}
  const remaining = new Set(questions)
  const ask = async (qmp: QmpClient, question: PropertyQuestion): Promise<void> => {
    const answer = await qmp.execute(question.command, { typename: question.type }).catch(ifRefused(undefined))
    if (answer !== undefined) answers[question.type] = answer
    remaining.delete(question)
  }
  for (let deaths = 0; remaining.size > 0; deaths += 1) {
    const burst = deaths === 0 ? BURST : 1
    let asked: readonly PropertyQuestion[] = []
    try {
      await askThrowaway(process, async (qmp) => {
        const order = [...remaining]
        for (let at = 0; at < order.length; at += burst) {
          asked = order.slice(at, at + burst)
          await Promise.all(asked.map((question) => ask(qmp, question)))
        }
      })
    } catch (error) {
      if (!(error instanceof ThrowawayFailed) || asked.length === 0 || deaths === MAX_DEATHS) throw error
      if (asked.length === 1 && asked[0] !== undefined) remaining.delete(asked[0])
    }
  }
  return answers
}
