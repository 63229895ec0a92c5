'use client'
import { useQuery } from '@tanstack/react-query'
import { ListChecks } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { Time } from '#components/text/time.tsx'
import { Button } from '#components/ui/button.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { place } from '#components/ui/place.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatDuration, formatRate } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { Job } from '#lib/schema/job.ts'

const isActive = (job: Job) => job.state === 'running' || job.state === 'queued'
const SHOWN = 8

/** How much long work is going on, and a panel with each piece. */
export function JobsMenu() {
  const t = useT(app)
  const { data } = useQuery(queries.jobList())
  const jobs = data?.items ?? []
  const active = jobs.filter(isActive).length
  const [open, setOpen] = useState(false)
  const trigger = useRef<HTMLButtonElement>(null)
  const panel = useRef<HTMLElement>(null)
  useEffect(() => {
    const box = panel.current
    if (!open || !box || !trigger.current) return
    place(box, trigger.current)
    box.focus()
    const away = (event: Event) => {
      const target = event.target as Node
      if (!box.contains(target) && !trigger.current?.contains(target)) setOpen(false)
    }
    document.addEventListener('pointerdown', away)
    return () => document.removeEventListener('pointerdown', away)
  }, [open])
  return (
    <>
      <Button
        ref={trigger}
        variant="quiet"
        aria-expanded={open}
        aria-label={t('jobs.label', { count: active })}
        data-tip={open ? undefined : t('jobs.label', { count: active })}
        className="min-w-8 px-2!"
        onClick={() => setOpen((was) => !was)}
      >
        <ListChecks size={16} aria-hidden="true" />
        {active > 0 && <span className="figures">{active}</span>}
      </Button>
      {open && (
        <section
          ref={panel}
          tabIndex={-1}
          aria-label={t('jobs.title')}
          onKeyDown={(event) => {
            if (event.key !== 'Escape') return
            setOpen(false)
            trigger.current?.focus()
          }}
          className="fixed z-40 max-h-[70dvh] w-80 max-w-[calc(100vw-1rem)] overflow-y-auto rounded-md border border-line bg-raised p-3 shadow-pop"
        >
          <h2 className="mb-2">{t('jobs.title')}</h2>
          {jobs.length === 0 && <p className="text-faint">{t('jobs.none')}</p>}
          <ul className="flex flex-col gap-3">
            {jobs.slice(0, SHOWN).map((job) => (
              <JobLine key={job.id} job={job} />
            ))}
          </ul>
        </section>
      )}
    </>
  )
}

/** Kinds whose title is the name of what they work on alone. */
const NAMED = [
  'image-upload',
  'image-register',
  'image-download',
  'image-import',
  'starter-add',
  'volume-copy',
  'volume-convert',
  'volume-compact',
  'volume-move',
] as const

function JobLine({ job }: { readonly job: Job }) {
  const t = useT(app)
  const locale = useLocale()
  const kind = NAMED.find((one) => one === job.kind)
  const facts = [
    kind === undefined ? null : t(`jobs.kinds.${kind}`),
    isActive(job) ? job.step : null,
    !isActive(job) || job.bytesPerSecond === null ? null : formatRate(job.bytesPerSecond, locale),
    !isActive(job) || job.secondsLeft === null
      ? null
      : t('jobs.left', { time: formatDuration(job.secondsLeft, locale) }),
  ].filter((fact) => fact !== null)
  const cancel = useOperation('jobCancel', { onError: (error) => toastError(error, job.title) })
  return (
    <li className="flex flex-col gap-1">
      <div className="flex items-baseline justify-between gap-2">
        <span className="min-w-0 break-words">{job.title}</span>
        <span className={job.state === 'failed' ? 'text-crashed text-sm' : 'text-faint text-sm'}>
          {t(`jobs.${job.state}`)}
        </span>
      </div>
      {facts.length > 0 && <p className="figures text-dim text-sm">{facts.join(' · ')}</p>}
      {isActive(job) ? (
        <div className="flex items-center gap-2">
          <ProgressBar label={job.title} value={job.progress} />
          {job.cancellable && (
            <Button
              size="sm"
              pending={cancel.isPending}
              aria-label={t('jobs.cancelNamed', { name: job.title })}
              onClick={() => cancel.mutate({ input: { params: { id: job.id } } })}
            >
              {t('jobs.cancel')}
            </Button>
          )}
        </div>
      ) : (
        <span className="text-faint text-sm">{job.error?.message ?? (job.endedAt && <Time at={job.endedAt} />)}</span>
      )}
    </li>
  )
}
