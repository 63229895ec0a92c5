/** Every check of the devices on the bus that are neither drives nor network cards. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import type { CompileInput, CompileProblem } from '../types.ts'
import { channelTypes, checkChannels, checkClipboard } from './channels.ts'
import { checkDisplay, displayTypes } from './display.ts'
import { checkHelpers, checkVsockHost, checkWatchdogStrap, helperTypes } from './helpers.ts'
import { checkHostDevices, hostDeviceTypes } from './host-devices.ts'
import { checkInput, inputTypes } from './input.ts'
import type { NeededType, SpecProblem } from './problem.ts'
import { checkRawArgs } from './raw-args.ts'
import { checkShareMemory, checkShares, checkShareTools, shareTypes } from './shares.ts'

/** What the definition alone gets wrong. */
export function checkBus(spec: VmSpec): SpecProblem[] {
  return [
    ...checkDisplay(spec),
    ...checkInput(spec),
    ...checkChannels(spec),
    ...checkHelpers(spec),
    ...checkShares(spec),
    ...checkHostDevices(spec),
  ]
}

/** Device types of QEMU it needs. */
export function busTypes(spec: VmSpec): NeededType[] {
  return [
    ...displayTypes(spec),
    ...inputTypes(spec),
    ...channelTypes(spec),
    ...helperTypes(spec),
    ...shareTypes(spec),
    ...hostDeviceTypes(spec),
  ]
}

/** What it asks of this QEMU besides device types. */
export function checkBusCapabilities(spec: VmSpec, capabilities: QemuCapabilities): SpecProblem[] {
  return [
    ...checkClipboard(spec, capabilities),
    ...checkWatchdogStrap(spec, capabilities),
    ...checkShareMemory(spec, capabilities),
    ...checkRawArgs(spec, capabilities),
  ]
}

/** What it asks of this host. */
export function checkBusHost({ spec, host, tools }: CompileInput): CompileProblem[] {
  return [...checkVsockHost(spec, host), ...checkShareTools(spec, tools)]
}
