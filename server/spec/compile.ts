/**
 * The command-line compiler: spec + capabilities + paths → argv with an explanation per option.
 * Pure and deterministic. The order is fixed; the result is an ABI that golden files guard (`__golden__/`).
 */
import { checkCapabilities, checkStructure } from './check.ts'
import { displayOptions, inputOptions, serialOptions } from './devices/console.ts'
import { agentOptions, balloonOptions, rngOptions } from './devices/helpers.ts'
import { cpuOptions, firmwareOptions, machineOptions, memoryOptions } from './devices/machine.ts'
import { networkOptions } from './devices/network.ts'
import { monitorOptions, processOptions, sandboxOptions, wrapperOptions } from './devices/process.ts'
import { rootPortOptions } from './devices/root-ports.ts'
import { cdromOptions, diskOptions } from './devices/storage.ts'
import type { CompileInput, CompileProblem, CompileResult, LaunchPlan, PlannedOption } from './types.ts'
import { planWarnings } from './warnings.ts'

/** Never throws: what cannot be compiled comes back as problems, each with the field at fault. */
export function compile(input: CompileInput): CompileResult {
  const problems = [
    ...checkStructure(input.spec),
    ...checkCapabilities(input.spec, input.capabilities),
    ...checkLaunch(input),
  ]
  if (problems.length > 0)
    return { ok: false, problems: problems.map(({ field, message }): CompileProblem => ({ field, message })) }
  return {
    ok: true,
    plan: {
      binary: input.capabilities.binary,
      wrapper: wrapperOptions(input),
      options: [
        ...processOptions(input),
        ...sandboxOptions(input),
        ...machineOptions(input),
        ...cpuOptions(input),
        ...memoryOptions(input),
        ...firmwareOptions(input),
        // Before everything that is plugged into them: QEMU creates devices in this order.
        ...rootPortOptions(input),
        ...displayOptions(input),
        ...inputOptions(input),
        ...driveOptions(input),
        ...input.spec.networks.flatMap((card, index) => networkOptions(card, `/networks/${index}`)),
        ...serialOptions(input),
        ...agentOptions(input),
        ...rngOptions(input),
        ...balloonOptions(input),
        ...monitorOptions(input),
      ],
      helpers: [],
      taps: [],
      commands: [],
      pins: [],
      warnings: planWarnings(input),
    },
  }
}

function driveOptions(input: CompileInput): PlannedOption[] {
  const resolved = new Map(input.drives.map((drive) => [drive.id, drive]))
  return input.spec.disks.flatMap((drive, index) => {
    const pointer = `/disks/${index}`
    const files = resolved.get(drive.id)
    if (drive.device === 'cdrom') return cdromOptions(drive, pointer, files)
    // `checkLaunch` has refused a disk without a file.
    return files === undefined ? [] : diskOptions(drive, pointer, files)
  })
}

/** What only a launch can get wrong: accelerator, missing files, missing tools. */
function checkLaunch(input: CompileInput): CompileProblem[] {
  const problems: CompileProblem[] = []
  const { spec, accelerator, capabilities, drives, user, tools } = input
  if (!capabilities.accelerators.includes(accelerator.kind))
    problems.push({
      field: 'accelerator',
      message: `QEMU ${capabilities.version} on this host was built without ${accelerator.kind.toUpperCase()}.`,
    })
  if (accelerator.kind === 'tcg' && spec.cpuModel === 'host')
    problems.push({
      field: 'cpuModel',
      message: 'The CPU model "host" needs KVM, which this start does not use; choose "auto" or "max".',
    })
  if (user !== null && tools.setpriv === null)
    problems.push({
      field: '',
      message: 'setpriv (package util-linux) is missing, so QEMU could not leave root; install it.',
    })
  spec.disks.forEach((drive, index) => {
    const files = drives.find((candidate) => candidate.id === drive.id)
    const needsFile = drive.device === 'disk' || drive.image !== null
    if (needsFile && (files === undefined || files.chain.length === 0))
      problems.push({ field: `disks.${index}`, message: `The file of "${drive.id}" is missing.` })
    if (files?.chain.some((layer) => !layer.path.startsWith('/')))
      problems.push({ field: `disks.${index}`, message: `The file of "${drive.id}" is not named by an absolute path.` })
  })
  return problems
}

/** Program and arguments for the spawn: the wrapper's programs, then QEMU with its options. */
export function flattenArgv(plan: LaunchPlan): { readonly file: string; readonly args: readonly string[] } {
  const [file, ...args] = [
    ...plan.wrapper.flatMap((option) => option.argv),
    plan.binary,
    ...plan.options.flatMap((option) => option.argv),
  ]
  return { file: file ?? plan.binary, args }
}
