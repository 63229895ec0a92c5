/** What the kernel of the host holds a running guest to. */
import * as z from 'zod'

export const LimitsHeld = z
  .strictObject({
    /** Why there is no control group for it; null: there is one. */
    reason: z.string().nullable(),
    limits: z.array(
      z.strictObject({
        id: z.enum(['cpu-weight', 'cpu-limit', 'memory', 'processes', 'io-weight']),
        /** As the definition asks for it; `none`: no limit. */
        value: z.string(),
        /** Whether the kernel has taken it. */
        holds: z.boolean(),
        /** Why not; null when it holds. */
        reason: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'LimitsHeld' })
export type LimitsHeld = z.output<typeof LimitsHeld>
