/** Identifiers. All are UUIDv7 so that they sort by creation and never clash between hosts. */
import * as z from 'zod'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export const VmId = z.string().regex(UUID).brand('VmId').meta({ id: 'VmId' })
export type VmId = z.output<typeof VmId>

export const ImageId = z.string().regex(UUID).brand('ImageId').meta({ id: 'ImageId' })
export type ImageId = z.output<typeof ImageId>

export const UserId = z.string().regex(UUID).brand('UserId').meta({ id: 'UserId' })
export type UserId = z.output<typeof UserId>

export const TokenId = z.string().regex(UUID).brand('TokenId').meta({ id: 'TokenId' })
export type TokenId = z.output<typeof TokenId>

export const JobId = z.string().regex(UUID).brand('JobId').meta({ id: 'JobId' })
export type JobId = z.output<typeof JobId>

export const PoolId = z.string().regex(UUID).brand('PoolId').meta({ id: 'PoolId' })
export type PoolId = z.output<typeof PoolId>

export const VolumeId = z.string().regex(UUID).brand('VolumeId').meta({ id: 'VolumeId' })
export type VolumeId = z.output<typeof VolumeId>

export const LayerId = z.string().regex(UUID).brand('LayerId').meta({ id: 'LayerId' })
export type LayerId = z.output<typeof LayerId>

export const SnapshotId = z.string().regex(UUID).brand('SnapshotId').meta({ id: 'SnapshotId' })
export type SnapshotId = z.output<typeof SnapshotId>

export const BackupId = z.string().regex(UUID).brand('BackupId').meta({ id: 'BackupId' })
export type BackupId = z.output<typeof BackupId>

export const ScheduleId = z.string().regex(UUID).brand('ScheduleId').meta({ id: 'ScheduleId' })
export type ScheduleId = z.output<typeof ScheduleId>

/** Of one seed CD; its file is named by it. */
export const SeedId = z.string().regex(UUID).brand('SeedId').meta({ id: 'SeedId' })
export type SeedId = z.output<typeof SeedId>

export const ProjectId = z.string().regex(UUID).brand('ProjectId').meta({ id: 'ProjectId' })
export type ProjectId = z.output<typeof ProjectId>

export const GroupId = z.string().regex(UUID).brand('GroupId').meta({ id: 'GroupId' })
export type GroupId = z.output<typeof GroupId>

export const NetworkId = z.string().regex(UUID).brand('NetworkId').meta({ id: 'NetworkId' })
export type NetworkId = z.output<typeof NetworkId>

/** Of a custom role. */
export const RoleId = z.string().regex(UUID).brand('RoleId').meta({ id: 'RoleId' })
export type RoleId = z.output<typeof RoleId>

/** What people call something of theirs. */
export const Label = z
  .string()
  .trim()
  .min(1)
  .max(64)
  .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u, 'no control characters')

/** ISO 8601 instant in UTC. */
export const Instant = z.iso.datetime().meta({ id: 'Instant' })

/** Optimistic-concurrency counter: 1 at creation, +1 on every stored change. */
export const Revision = z.int().min(1)
