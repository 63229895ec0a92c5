'use client'
import { useEffect, useState } from 'react'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { connection } from '#lib/client/events.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useStore } from '#lib/client/use-store.ts'
import { app } from '#lib/i18n/messages/en/app.ts'

/** Short breaks mend themselves before anybody would read about them. */
const PATIENCE_MS = 1_500

/** Says that what is shown may be old while the event stream is down. */
export function ConnectionBanner() {
  const t = useT(app)
  const { lostAt } = useStore(connection)
  const [late, setLate] = useState(false)
  useEffect(() => {
    if (lostAt === null) {
      setLate(false)
      return
    }
    const timer = setTimeout(() => setLate(true), Math.max(0, lostAt + PATIENCE_MS - Date.now()))
    return () => clearTimeout(timer)
  }, [lostAt])
  return (
    <div role="status" className="sticky top-12 z-20">
      {late && lostAt !== null && (
        <p className="flex items-center gap-2 border-attention border-b bg-attention-tint px-4 py-1.5 text-sm">
          <MarkIcon mark="attention" />
          {t('connection.lost')}
        </p>
      )}
    </div>
  )
}
