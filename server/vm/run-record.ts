/**
 * `launch.json` in a VM's run directory: written before QEMU is spawned (the intent) and again once its pid is known.
 * Read back on adoption. It is believed only when it belongs to the dashboard's own user: the directory is QEMU's.
 */

import * as z from 'zod'
import { CommandOption } from '#lib/schema/command-line.ts'
import { StoredVmSpec } from '#lib/schema/vm-spec/upgrade.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { readPlainFile } from '#server/platform/fs.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import { dashboardUids } from '#server/storage/identity.ts'
import type { PreparedLaunch } from './types.ts'

const MAX_BYTES = 4 * 1024 * 1024

const PlannedOption = CommandOption.omit({ changed: true })

const PlanSchema = z.object({
  binary: z.string(),
  wrapper: z.array(PlannedOption),
  options: z.array(PlannedOption),
  // Not written by the first release.
  helpers: z
    .array(
      z.object({
        id: z.string(),
        kind: z.enum(['swtpm', 'virtiofsd']),
        option: PlannedOption,
        socket: z.string(),
        dirs: z.array(z.string()),
      }),
    )
    .default([]),
  taps: z
    .array(
      z.object({
        card: z.string(),
        name: z.string(),
        bridge: z.string(),
        multiQueue: z.boolean().default(false),
        mtu: z.number().nullable(),
        rateLimit: z.object({ inKBps: z.number().nullable(), outKBps: z.number().nullable() }).nullable(),
      }),
    )
    .default([]),
  commands: z
    .array(
      z.object({
        execute: z.string(),
        arguments: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
        what: z.string(),
        field: z.string(),
      }),
    )
    .default([]),
  pins: z.array(z.object({ vcpu: z.int(), hostCpus: z.string() })).default([]),
  startSeconds: z.number().nullable().default(null),
  warnings: z.array(z.string()),
})

const RunRecordSchema = z.object({
  v: z.literal(1),
  vmId: z.string(),
  bootId: z.string(),
  startedAt: z.string(),
  by: z.string(),
  /** Null until the spawn succeeded. */
  process: z.object({ pid: z.int(), startTime: z.number() }).nullable(),
  /** Helper programs that have been started, by the id of their plan. Not written by the first release. */
  helpers: z.array(z.object({ id: z.string(), pid: z.int(), startTime: z.number() })).default([]),
  accelerator: z.object({ kind: z.enum(['kvm', 'tcg']), reason: z.string() }),
  /** Unknown shapes (of another release) do not stand in the way of adoption. */
  spec: StoredVmSpec.nullable().catch(null),
  plan: PlanSchema.nullable().catch(null),
  /** Where a live change under way leads; null when none is. Not written by the first release. */
  change: z.object({ spec: StoredVmSpec, plan: PlanSchema }).nullable().default(null).catch(null),
})

export interface RunRecord extends Omit<z.output<typeof RunRecordSchema>, 'plan' | 'change'> {
  readonly plan: LaunchPlan | null
  readonly change: { readonly spec: VmSpec; readonly plan: LaunchPlan } | null
}

/** The record of a launch that has not been spawned yet. */
export function intentOf(prepared: PreparedLaunch, by: string, bootId: string, startedAt: string): RunRecord {
  return {
    v: 1,
    vmId: prepared.vmId,
    bootId,
    startedAt,
    by,
    process: null,
    helpers: [],
    accelerator: prepared.accelerator,
    spec: prepared.spec,
    plan: prepared.plan,
    change: null,
  }
}

export function formatRecord(record: RunRecord): string {
  return JSON.stringify(record)
}

/** Null when there is none, or none to be believed. */
export async function readRecord(path: string): Promise<RunRecord | null> {
  try {
    const text = await readPlainFile(path, MAX_BYTES, { owners: dashboardUids() })
    const parsed = RunRecordSchema.safeParse(JSON.parse(text.toString('utf8')))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

/** Ids of the devices of one driver family that a plan brings, in its order. */
export function deviceIds(plan: LaunchPlan | null, driver: RegExp): string[] {
  const ids: string[] = []
  for (const { argv } of plan?.options ?? []) {
    for (const [index, flag] of argv.entries()) {
      const value = argv[index + 1]
      if (flag !== '-device' || value === undefined || !value.startsWith('{')) continue
      const device: unknown = JSON.parse(value)
      if (typeof device !== 'object' || device === null || !('driver' in device) || !('id' in device)) continue
      if (typeof device.driver === 'string' && typeof device.id === 'string' && driver.test(device.driver)) {
        ids.push(device.id)
      }
    }
  }
  return ids
}

/** The whole command: wrapper programs first, then QEMU. */
export function commandOf(plan: LaunchPlan): string[] {
  return [...plan.wrapper.flatMap((part) => part.argv), plan.binary, ...plan.options.flatMap((part) => part.argv)]
}
