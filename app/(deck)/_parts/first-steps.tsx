'use client'
import type { ReactNode } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Section } from '#components/ui/page.tsx'
import { StarterList } from '#components/vm/starters.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useCan } from '#lib/client/session.ts'
import { overview as messages } from '#lib/i18n/messages/en/overview.ts'
import { paths } from '#lib/paths.ts'

/** From nothing to a first guest, with the starters at hand. */
export function FirstSteps() {
  const t = useT(messages)
  const canCreate = useCan('vm.create')
  if (!canCreate) return <p className="text-dim">{t('first.viewer')}</p>
  return (
    <Section title={t('first.title')}>
      <ol className="flex flex-col gap-5">
        <Step number={1} title={t('first.step1')} body={t('first.step1Body')}>
          <StarterList />
          <ButtonLink href={`${paths.images()}#upload`} className="self-start">
            {t('first.upload')}
          </ButtonLink>
        </Step>
        <Step number={2} title={t('first.step2')} body={t('first.step2Body')}>
          <ButtonLink href={paths.vmNew()} variant="primary" className="self-start">
            {t('first.create')}
          </ButtonLink>
        </Step>
        <Step number={3} title={t('first.step3')} body={t('first.step3Body')} />
      </ol>
    </Section>
  )
}

function Step({
  number,
  title,
  body,
  children,
}: {
  readonly number: number
  readonly title: string
  readonly body: string
  readonly children?: ReactNode
}) {
  return (
    <li className="grid grid-cols-[1.5rem_minmax(0,1fr)] gap-x-3">
      <span
        aria-hidden="true"
        className="figures flex size-6 items-center justify-center rounded-full border border-edge text-dim text-sm"
      >
        {number}
      </span>
      <div className="flex min-w-0 flex-col gap-2 pt-0.5">
        <div>
          <h3>{title}</h3>
          <p className="text-dim">{body}</p>
        </div>
        {children}
      </div>
    </li>
  )
}
