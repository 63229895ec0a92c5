/** Life in a lab: leases, idle VMs, times of power, and who has which device of the host when. */
import * as z from 'zod'
import { Instant, ScheduleId, UserId, VmId } from './ids.ts'
import { CronText, ScheduleRun, TimeZoneName } from './schedule.ts'
import { Tag } from './vm-spec.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
export const BookingId = z.string().regex(UUID).brand('BookingId').meta({ id: 'BookingId' })
export type BookingId = z.output<typeof BookingId>

const Hours = (max: number) => z.int().min(1).max(max)
const YEAR_HOURS = 8_784

/** A device of the host, named as definitions name it. */
export const BookableDevice = z
  .discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('usb-id'),
      vendor: z.string().regex(/^[0-9a-f]{4}$/),
      product: z.string().regex(/^[0-9a-f]{4}$/),
    }),
    z.strictObject({
      type: z.literal('usb-port'),
      hostBus: z.int().min(1).max(255),
      hostPort: z.string().regex(/^[0-9]{1,3}(\.[0-9]{1,3}){0,5}$/),
    }),
    z.strictObject({
      type: z.literal('pci'),
      address: z.string().regex(/^[0-9a-f]{4}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]$/),
    }),
    z.strictObject({ type: z.literal('mdev'), uuid: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) }),
  ])
  .meta({ id: 'BookableDevice' })
export type BookableDevice = z.output<typeof BookableDevice>

/** A line of text for people: no control characters. */
const Words = (max: number) =>
  z
    .string()
    .trim()
    .max(max)
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, 'one line of text')

const LabPolicyShape = {
  lease: z.strictObject({
    /** Length of the lease that new VMs begin with, and of one extension; null: new VMs have none. */
    defaultHours: Hours(YEAR_HOURS).nullable(),
    /** How far ahead an owner may move the end; null: as far as they like. */
    maxHours: Hours(10 * YEAR_HOURS).nullable(),
    /** So long before the end the first warning is given. */
    warnHours: Hours(720),
    /** What happens to a running guest at the end. */
    suspend: z.enum(['pause', 'shutdown']),
    /** From the end to the archive. */
    graceHours: Hours(YEAR_HOURS),
  }),
  idle: z.strictObject({
    afterHours: Hours(720),
    /** Of one CPU; what a guest at rest needs lies below. */
    cpuPercent: z.int().min(1).max(100),
    /** Kilobytes a second on its bridges. */
    networkKBps: z.int().min(0).max(100_000),
    /** `show`: told on its page alone. `pause`: warned, then paused. */
    action: z.enum(['show', 'warn', 'pause']),
    /** From the warning to the pause. */
    warnHours: Hours(168),
  }),
  /** Devices that people may book. */
  devices: z.array(z.strictObject({ device: BookableDevice, name: Words(64).min(1) })).max(64),
  bookingMaxDays: z.int().min(1).max(366),
}

export const LabPolicy = z.strictObject(LabPolicyShape).meta({ id: 'LabPolicy' })
export type LabPolicy = z.output<typeof LabPolicy>

/** Each part replaces the whole part. */
export const LabPolicyPatch = z.strictObject(LabPolicyShape).partial().meta({ id: 'LabPolicyPatch' })
export type LabPolicyPatch = z.output<typeof LabPolicyPatch>

export const DEFAULT_LAB_POLICY: LabPolicy = {
  lease: { defaultHours: null, maxHours: null, warnHours: 24, suspend: 'pause', graceHours: 168 },
  idle: { afterHours: 8, cpuPercent: 10, networkKBps: 2, action: 'show', warnHours: 1 },
  devices: [],
  bookingMaxDays: 14,
}

export const LabPolicyView = z.strictObject({ policy: LabPolicy, revision: z.int() }).meta({ id: 'LabPolicyView' })
export type LabPolicyView = z.output<typeof LabPolicyView>

export const LeasePhase = z.enum(['active', 'warned', 'suspended', 'archived']).meta({ id: 'LeasePhase' })
export type LeasePhase = z.output<typeof LeasePhase>

export const Lease = z
  .strictObject({
    phase: LeasePhase,
    /** Null: it has no end. */
    endsAt: Instant.nullable(),
    /** When this phase began. */
    since: Instant,
    /** When the next step is due, and which; null when none follows. */
    next: z.strictObject({ step: z.enum(['warn', 'suspend', 'archive']), at: Instant }).nullable(),
    /** Of a suspended or archived VM: what was done to it, as a sentence. */
    done: z.string().nullable(),
  })
  .meta({ id: 'Lease' })
export type Lease = z.output<typeof Lease>

export const Idle = z
  .strictObject({
    since: Instant,
    /** What was seen meanwhile, as a sentence. */
    evidence: z.string(),
    /** What the policy does about it next; null: nothing. */
    pausesAt: Instant.nullable(),
    /** It was paused for that. */
    paused: z.boolean(),
  })
  .meta({ id: 'Idle' })
export type Idle = z.output<typeof Idle>

/** Part of a VM's view. Absent where there is nothing to say. */
export const VmLab = z
  .strictObject({
    lease: Lease.nullable(),
    idle: Idle.nullable(),
    /** Why it may not be started or resumed, and what to do; null: it may. */
    blocked: z.string().nullable(),
  })
  .meta({ id: 'VmLab' })
export type VmLab = z.output<typeof VmLab>

export const LeaseInput = z.strictObject({
  /** Null: no end. */
  endsAt: Instant.nullable(),
})
export type LeaseInput = z.output<typeof LeaseInput>

/** What the caller may do about a lease. */
export const LeaseChoices = z
  .strictObject({
    /** Where one click moves the end to; null when it may not be moved, which `reason` explains. */
    extendsTo: Instant.nullable(),
    /** The latest end the caller may set; null: any. */
    latest: Instant.nullable(),
    mayRemove: z.boolean(),
    reason: z.string().nullable(),
  })
  .meta({ id: 'LeaseChoices' })
export type LeaseChoices = z.output<typeof LeaseChoices>

export const VmLease = z.strictObject({ vmId: VmId, lab: VmLab, choices: LeaseChoices }).meta({ id: 'VmLease' })
export type VmLease = z.output<typeof VmLease>

export const PowerTarget = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('vm'), id: VmId }),
    z.strictObject({ type: z.literal('tag'), id: Tag }),
  ])
  .meta({ id: 'PowerTarget' })
export type PowerTarget = z.output<typeof PowerTarget>

/** After a scheduled shutdown: when the power of a guest that does not obey is cut; null: never. */
const OffAfterMinutes = z.int().min(1).max(240).nullable()

export const PowerScheduleInput = z
  .strictObject({
    target: PowerTarget,
    action: z.enum(['on', 'off']),
    cron: CronText,
    timeZone: TimeZoneName,
    offAfterMinutes: OffAfterMinutes.default(null),
    paused: z.boolean().default(false),
  })
  .meta({ id: 'PowerScheduleInput' })
export type PowerScheduleInput = z.output<typeof PowerScheduleInput>

export const PowerSchedulePatch = z
  .strictObject({
    cron: CronText.optional(),
    timeZone: TimeZoneName.optional(),
    offAfterMinutes: OffAfterMinutes.optional(),
    paused: z.boolean().optional(),
  })
  .meta({ id: 'PowerSchedulePatch' })
export type PowerSchedulePatch = z.output<typeof PowerSchedulePatch>

export const PowerSchedule = z
  .strictObject({
    id: ScheduleId,
    target: z.strictObject({ type: z.enum(['vm', 'tag']), id: z.string(), name: z.string() }),
    /** VMs it covers now, of those the caller may see. */
    vms: z.array(z.strictObject({ id: VmId, name: z.string() })),
    action: z.enum(['on', 'off']),
    cron: z.string(),
    timeZone: z.string(),
    offAfterMinutes: OffAfterMinutes,
    paused: z.boolean(),
    /** The next time it does something; null while paused. */
    nextAt: Instant.nullable(),
    /** The time before that which is left out. */
    skippedAt: Instant.nullable(),
    lastRun: ScheduleRun.nullable(),
    /** Where it and a lease get in each other's way, one sentence each. */
    conflicts: z.array(z.string()),
    owner: z.strictObject({ id: UserId, name: z.string() }),
    revision: z.int().min(1),
  })
  .meta({ id: 'PowerSchedule' })
export type PowerSchedule = z.output<typeof PowerSchedule>

export const BookingInput = z
  .strictObject({
    device: BookableDevice,
    from: Instant,
    until: Instant,
    note: Words(200).default(''),
  })
  .meta({ id: 'BookingInput' })
export type BookingInput = z.output<typeof BookingInput>

export const Booking = z
  .strictObject({
    id: BookingId,
    device: BookableDevice,
    from: Instant,
    until: Instant,
    note: z.string(),
    owner: z.strictObject({ id: UserId, name: z.string() }),
    /** Whether the caller may take it back. */
    mine: z.boolean(),
  })
  .meta({ id: 'Booking' })
export type Booking = z.output<typeof Booking>

/** A device people may book, and who has it. */
export const BookableView = z
  .strictObject({
    device: BookableDevice,
    name: z.string(),
    /** Whether the host has it now; null when it cannot be told. */
    present: z.boolean().nullable(),
    /** Somebody whose VM runs with it although another has booked it, as a sentence. */
    trouble: z.string().nullable(),
  })
  .meta({ id: 'BookableView' })
export type BookableView = z.output<typeof BookableView>

export const BookingList = z
  .strictObject({ devices: z.array(BookableView), items: z.array(Booking) })
  .meta({ id: 'BookingList' })
export type BookingList = z.output<typeof BookingList>
