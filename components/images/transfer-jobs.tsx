'use client'
import { useQuery } from '@tanstack/react-query'
import { X } from 'lucide-react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { createStore } from '#lib/client/store.ts'
import { toastError } from '#lib/client/toasts.ts'
import { useNow } from '#lib/client/use-now.ts'
import { useStore } from '#lib/client/use-store.ts'
import { formatBytes, formatDuration, formatRate } from '#lib/i18n/format.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { Job } from '#lib/schema/job.ts'

/** Files from a browser have lines of their own while they are on their way; what was wrong with them is said here. */
const KINDS: ReadonlySet<string> = new Set(['image-download', 'image-register', 'image-import', 'image-upload'])
const FAILURE_SHOWN_MS = 15 * 60_000
/** Failures that the reader has done with. */
const dismissed = createStore<ReadonlySet<string>>(new Set())

/** What the host fetches, reads or converts for the library just now, and what failed a little while ago. */
export function TransferJobs() {
  const t = useT(messages)
  const { data } = useQuery(queries.jobList())
  const now = useNow()
  const seen = useStore(dismissed)
  const jobs = (data?.items ?? []).filter(
    (job) =>
      KINDS.has(job.kind) &&
      !seen.has(job.id) &&
      (job.endedAt === null
        ? job.kind !== 'image-upload'
        : job.state === 'failed' && now - Date.parse(job.endedAt) < FAILURE_SHOWN_MS),
  )
  if (jobs.length === 0) return null
  return (
    <ul aria-label={t('jobs.title')} className="flex flex-col gap-3">
      {jobs.map((job) => (
        <JobLine key={job.id} job={job} onDismiss={() => dismissed.set((before) => new Set([...before, job.id]))} />
      ))}
    </ul>
  )
}

/** One piece of work in place: step, bytes, speed, time left, cancel; or why it failed. */
export function JobLine({ job, onDismiss }: { readonly job: Job; readonly onDismiss?: () => void }) {
  const t = useT(messages)
  const locale = useLocale()
  const cancel = useOperation('jobCancel', { onError: (error) => toastError(error, job.title) })
  if (job.state === 'failed') {
    return (
      <li>
        <Banner
          tone="error"
          actions={
            onDismiss && (
              <IconButton size="sm" label={t('jobs.dismiss', { name: job.title })} onClick={onDismiss}>
                <X size={14} aria-hidden="true" />
              </IconButton>
            )
          }
        >
          <span className="font-medium">
            {t(job.kind === 'image-upload' ? 'failed' : 'jobs.failed', { name: job.title })}.
          </span>{' '}
          {job.error?.message}
        </Banner>
      </li>
    )
  }
  const done = formatBytes(job.doneBytes ?? 0, locale)
  const total = job.totalBytes === null ? null : formatBytes(job.totalBytes, locale)
  const rate = job.bytesPerSecond === null ? null : formatRate(job.bytesPerSecond, locale)
  const left = job.secondsLeft === null ? null : formatDuration(job.secondsLeft, locale)
  return (
    <li className="flex flex-col gap-1.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span className="min-w-0 flex-1 basis-40 truncate font-medium">{job.title}</span>
        <span className="figures text-dim text-sm">
          {total === null
            ? t('jobs.unknown', { done })
            : rate !== null && left !== null
              ? t('progress', { done, total, rate, left })
              : t('progressStart', { done, total })}
        </span>
        <Button
          size="sm"
          aria-label={t('cancelNamed', { name: job.title })}
          pending={cancel.isPending}
          disabledReason={job.cancellable ? null : t('jobs.ending')}
          onClick={() => cancel.mutate({ input: { params: { id: job.id } } })}
        >
          {t('cancel')}
        </Button>
      </div>
      <ProgressBar label={job.title} value={job.progress} />
      {job.step && <p className="text-faint text-sm">{job.step}</p>}
    </li>
  )
}
