'use client'
import { Banner } from '#components/ui/feedback.tsx'
import { Section } from '#components/ui/page.tsx'
import { type Mark, MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { host as messages } from '#lib/i18n/messages/en/host.ts'
import type { AcceleratorVerdict, EvidenceStep } from '#lib/schema/host.ts'

const MARK: Record<EvidenceStep['state'], Mark> = { ok: 'running', failed: 'crashed', unknown: 'off', skipped: 'off' }
const NAME = { kvm: 'KVM', tcg: 'TCG' } as const

/** Whether KVM really runs guests here, and every step that led to the answer. */
export function Verdict({ verdict }: { readonly verdict: AcceleratorVerdict }) {
  const t = useT(messages)
  return (
    <Section title={t('verdict.title')}>
      <Banner tone={verdict.kvm === 'usable' ? 'info' : 'attention'}>
        <p className="font-medium">{t(`verdict.kvm.${verdict.kvm}`)}</p>
        <p>{verdict.summary}</p>
        <p className="text-dim">
          {t('verdict.auto', { name: NAME[verdict.auto] })}
          {verdict.policy !== 'auto' && ` ${t('verdict.policy', { name: NAME[verdict.policy] })}`}
        </p>
      </Banner>
      <h3 className="text-faint">{t('verdict.evidence')}</h3>
      <ol className="-mt-2 flex flex-col">
        {verdict.evidence.map((step) => (
          <li
            key={step.id}
            className="grid grid-cols-[0.75rem_minmax(0,1fr)] gap-x-3 border-line border-b py-2 last:border-b-0"
          >
            <span className="mt-1">
              <MarkIcon mark={MARK[step.state]} />
            </span>
            <div className="min-w-0">
              <p className="flex flex-wrap gap-x-2">
                <span>{step.title}</span>
                <span className="ms-auto text-faint text-sm">{t(`verdict.step.${step.state}`)}</span>
              </p>
              <p className="break-words font-mono text-dim text-xs">{step.seen}</p>
              {step.advice && <p className="mt-1">{step.advice}</p>}
            </div>
          </li>
        ))}
      </ol>
      {verdict.probeMs !== null && (
        <p className="figures text-faint text-sm">{t('verdict.probe', { ms: String(Math.round(verdict.probeMs)) })}</p>
      )}
    </Section>
  )
}
