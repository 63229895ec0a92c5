/**
 * Browsers with which somebody has signed in before. Wrong passwords are counted by address; behind one address there
 * may be a whole office, and one of them who guesses would keep all others out. Whoever comes back with a browser
 * that is known for their own account is counted for itself. A stolen mark gives as many tries as one more address.
 */
import { randomBytes } from 'node:crypto'
import * as z from 'zod'
import type { Sealer } from '#server/auth/sealer.ts'

const PURPOSE = 'known-browser'
const MARK_MAX = 512
const Mark = z.strictObject({ userId: z.string(), browser: z.string().regex(/^[0-9a-f]{32}$/) })

export interface KnownBrowsers {
  /** The mark for a browser after a sign-in; that of the same person stays the same browser. */
  markFor(userId: string, before: string | null): string
  /** What its attempts are counted under. Null: it is not known for this person. */
  counterOf(mark: string | null | undefined, userId: string | null): string | null
}

export function createKnownBrowsers(sealer: Sealer): KnownBrowsers {
  const read = (mark: string | null | undefined): z.output<typeof Mark> | null => {
    if (!mark || mark.length > MARK_MAX) return null
    const text = sealer.open(mark, PURPOSE)
    // Sealed by us, so it is what was sealed.
    return text === null ? null : (Mark.safeParse(JSON.parse(text)).data ?? null)
  }
  return {
    markFor(userId, before) {
      const known = read(before)
      const browser = known?.userId === userId ? known.browser : randomBytes(16).toString('hex')
      return sealer.seal(JSON.stringify({ userId, browser }), PURPOSE)
    },
    counterOf(mark, userId) {
      const known = userId === null ? null : read(mark)
      return known !== null && known.userId === userId ? `browser ${known.browser}` : null
    },
  }
}
