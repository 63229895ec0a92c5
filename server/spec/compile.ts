/**
 * The command-line compiler: spec + capabilities + paths → argv with an explanation per option.
 * Pure and deterministic. The order is fixed; the result is an ABI that golden files guard (`__golden__/`).
 */
import { checkBusHost } from './check/bus.ts'
import { checkHost } from './check/host.ts'
import { checkCapabilities, checkStructure } from './check.ts'
import { bootOptions, directKernelOptions } from './devices/boot.ts'
import { cdromOptions } from './devices/cdroms.ts'
import { channelOptions } from './devices/console.ts'
import { cpuOptions, plannedPins } from './devices/cpu.ts'
import { diskOptions } from './devices/disks.ts'
import { displayOptions } from './devices/display.ts'
import { driveControllerOptions } from './devices/drive-controllers.ts'
import { firmwareOptions, smbiosOptions } from './devices/firmware.ts'
import { balloonOptions, rngOptions } from './devices/helpers.ts'
import { hostDeviceOptions, lockedMemoryOptions } from './devices/host-devices.ts'
import { inputOptions } from './devices/input.ts'
import { iommuOptions } from './devices/iommu.ts'
import {
  clockOptions,
  firmwareFilesOptions,
  generationOptions,
  machineOptions,
  pvpanicOptions,
  sleepOptions,
  transportOptions,
} from './devices/machine.ts'
import { balloonCommands, dimmOptions, memoryOptions, virtioMemOptions } from './devices/memory.ts'
import { linkCommands, networkOptions, plannedTaps } from './devices/network.ts'
import { numaOptions } from './devices/numa.ts'
import { monitorOptions, processOptions, sandboxOptions, wrapperOptions } from './devices/process.ts'
import { withProperties } from './devices/properties.ts'
import { rawOptions } from './devices/raw-args.ts'
import { rootPortOptions } from './devices/root-ports.ts'
import { shareHelpers, shareOptions } from './devices/shares.ts'
import { soundOptions } from './devices/sound.ts'
import { tpmHelpers, tpmOptions } from './devices/tpm.ts'
import { usbControllerOptions } from './devices/usb.ts'
import { vsockOptions } from './devices/vsock.ts'
import { watchdogOptions } from './devices/watchdog.ts'
import type { CompileInput, CompileProblem, CompileResult, LaunchPlan, PlannedOption } from './types.ts'
import { planWarnings } from './warnings.ts'

/** Never throws: what cannot be compiled comes back as problems, each with the field at fault. */
export function compile(input: CompileInput): CompileResult {
  const problems = [
    ...checkStructure(input.spec),
    ...checkCapabilities(input.spec, input.capabilities),
    ...checkLaunch(input),
    ...checkHost(input),
    ...checkBusHost(input),
  ]
  if (problems.length > 0)
    return { ok: false, problems: problems.map(({ field, message }): CompileProblem => ({ field, message })) }
  const { options, problems: refused } = withProperties(deviceOptions(input), input.spec, input.capabilities)
  if (refused.length > 0)
    return { ok: false, problems: refused.map(({ field, message }): CompileProblem => ({ field, message })) }
  return {
    ok: true,
    plan: {
      binary: input.capabilities.binary,
      wrapper: [...lockedMemoryOptions(input), ...wrapperOptions(input)],
      options: [...options, ...monitorOptions(input), ...rawOptions(input)],
      helpers: [...tpmHelpers(input), ...shareHelpers(input)],
      taps: plannedTaps(input),
      commands: [...balloonCommands(input), ...linkCommands(input.spec)],
      pins: plannedPins(input),
      startSeconds: input.startSeconds,
      warnings: planWarnings(input),
    },
  }
}

/** Everything but the monitors, in the order QEMU makes it. */
function deviceOptions(input: CompileInput): PlannedOption[] {
  return [
    ...processOptions(input),
    ...sandboxOptions(input),
    ...machineOptions(input),
    ...clockOptions(input),
    ...sleepOptions(input),
    ...firmwareFilesOptions(input),
    ...transportOptions(input),
    ...bootOptions(input),
    ...cpuOptions(input),
    ...memoryOptions(input),
    ...numaOptions(input),
    ...firmwareOptions(input),
    ...smbiosOptions(input),
    ...directKernelOptions(input),
    ...iommuOptions(input),
    // Before everything that is plugged into them: QEMU creates devices in this order.
    ...rootPortOptions(input),
    ...displayOptions(input),
    ...usbControllerOptions(input),
    ...inputOptions(input),
    ...driveControllerOptions(input),
    ...driveOptions(input),
    ...input.spec.networks.flatMap((card, index) => networkOptions(card, `/networks/${index}`, input)),
    ...soundOptions(input),
    ...channelOptions(input),
    ...vsockOptions(input),
    ...rngOptions(input),
    ...balloonOptions(input),
    ...watchdogOptions(input),
    ...shareOptions(input),
    ...hostDeviceOptions(input),
    ...tpmOptions(input),
    ...pvpanicOptions(input),
    ...generationOptions(input),
    ...virtioMemOptions(input),
    ...dimmOptions(input),
  ]
}

function driveOptions(input: CompileInput): PlannedOption[] {
  const resolved = new Map(input.drives.map((drive) => [drive.id, drive]))
  return input.spec.disks.flatMap((drive, index) => {
    const pointer = `/disks/${index}`
    const files = resolved.get(drive.id)
    if (drive.device === 'cdrom') return cdromOptions(drive, pointer, files, input.spec)
    // `checkLaunch` has refused a disk without a file.
    return files === undefined ? [] : diskOptions(drive, pointer, files, input.spec)
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
    const needsFile = drive.device === 'disk' || drive.image !== null || drive.seed !== null
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
