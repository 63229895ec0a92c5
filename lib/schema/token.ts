/** API tokens and what they are limited to. */
import * as z from 'zod'
import { PRIVILEGES } from '../auth/privileges.ts'
import { Instant, TokenId, VmId } from './ids.ts'

export const TokenScope = z
  .strictObject({
    privileges: z.array(z.enum(PRIVILEGES)).min(1),
    /** Null: every VM the owner may see. */
    vmIds: z.array(VmId).min(1).max(100).nullable(),
  })
  .meta({ id: 'TokenScope' })
export type TokenScope = z.output<typeof TokenScope>

export const ApiToken = z
  .strictObject({
    id: TokenId,
    label: z.string(),
    createdAt: Instant,
    lastUsedAt: Instant.nullable(),
    lastUsedFrom: z.string().nullable(),
    expiresAt: Instant.nullable(),
    /** Null: whatever its owner may. */
    scope: TokenScope.nullable(),
  })
  .meta({ id: 'ApiToken' })
export type ApiToken = z.output<typeof ApiToken>
