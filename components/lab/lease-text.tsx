'use client'
import { Time } from '#components/text/time.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { lab as messages } from '#lib/i18n/messages/en/lab.ts'
import type { Idle, Lease } from '#lib/schema/lab.ts'

/** Where a lease stands and what comes next. */
export function LeaseText({ lease }: { readonly lease: Lease }) {
  const t = useT(messages)
  const { phase, endsAt, next, done } = lease
  return (
    <>
      <p>
        <span className={phase === 'active' ? 'font-medium' : 'font-medium text-attention'}>
          {t(`lease.phase.${phase}`)}
        </span>
        {endsAt !== null && (
          <span className="text-dim">
            {' · '}
            {t(phase === 'active' || phase === 'warned' ? 'lease.ends' : 'lease.ended')} <Time at={endsAt} />
          </span>
        )}
      </p>
      {done !== null && <p className="text-dim text-sm">{done}</p>}
      {phase === 'archived' && <p className="text-dim text-sm">{t('lease.archivedNote')}</p>}
      {next !== null && (
        <p className="text-dim text-sm">{t.rich(`lease.next.${next.step}`, { time: () => <Time at={next.at} /> })}</p>
      )}
    </>
  )
}

export function IdleText({ idle }: { readonly idle: Idle }) {
  const t = useT(messages)
  const { pausesAt } = idle
  return (
    <>
      <p>{idle.paused ? t('idle.paused') : t.rich('idle.since', { time: () => <Time at={idle.since} /> })}</p>
      <p className="text-dim text-sm">{idle.evidence}</p>
      {pausesAt !== null && (
        <p className="text-attention text-sm">{t.rich('idle.pauses', { time: () => <Time at={pausesAt} /> })}</p>
      )}
    </>
  )
}
