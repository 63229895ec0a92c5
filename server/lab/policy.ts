/** What an administrator decided about leases, idle VMs and bookings of this host. */
import * as z from 'zod'
import { DEFAULT_LAB_POLICY, LabPolicy, type LabPolicyPatch } from '#lib/schema/lab.ts'
import { EngineError } from '#server/engine/errors.ts'
import type { Store } from '#server/store/types.ts'

const KEY = 'lab-policy'
const Document = z.object({ v: z.literal(1), policy: LabPolicy })

export interface LabPolicies {
  /** @returns revision 0 until somebody decided */
  read(): { readonly policy: LabPolicy; readonly revision: number }
  /** @throws EngineError bad_input, stale_revision */
  change(patch: LabPolicyPatch, expected: number | null): void
}

export function createLabPolicies(store: Store, warn: (message: string, error?: unknown) => void): LabPolicies {
  const found = store.get('meta', KEY)
  const parsed = Document.safeParse(found?.value)
  if (found !== null && !parsed.success)
    warn('The stored lab settings are unreadable; the defaults hold, which end nothing.', parsed.error)
  let current = {
    policy: parsed.data?.policy ?? DEFAULT_LAB_POLICY,
    revision: found?.revision ?? 0,
  }
  return {
    read: () => current,
    change(patch, expected) {
      const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined))
      const policy = LabPolicy.parse({ ...current.policy, ...given })
      const { defaultHours, maxHours } = policy.lease
      if (defaultHours !== null && maxHours !== null && defaultHours > maxHours)
        throw new EngineError('bad_input', 'The longest lease may not be shorter than the one new VMs get.', {
          field: 'lease.maxHours',
        })
      const revision = store.cas('meta', KEY, { v: 1, policy }, expected ?? current.revision)
      if (revision === null)
        throw new EngineError('stale_revision', 'Somebody changed these settings meanwhile; look at them again.')
      current = { policy, revision }
    },
  }
}
