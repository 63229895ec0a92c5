'use client'
import { useQuery } from '@tanstack/react-query'
import { Button } from '#components/ui/button.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatDuration } from '#lib/i18n/format.ts'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'

/** What is being done to this VM's snapshots, where it is done; found again after a reload. */
export function SnapshotJobs({ vmId }: { readonly vmId: string }) {
  const t = useT(messages)
  const locale = useLocale()
  const { data } = useQuery(queries.jobList())
  const cancel = useOperation('jobCancel', { onError: (cause) => toastError(cause, t('job.cancel')) })
  const jobs = (data?.items ?? []).filter(
    (job) => job.target?.id === vmId && job.kind.startsWith('snapshot-') && job.endedAt === null,
  )
  return (
    <ul aria-label={t('job.running')} aria-live="polite" className="flex flex-col gap-2 empty:hidden">
      {jobs.map((job) => (
        <li
          key={job.id}
          className="flex flex-wrap items-center gap-x-3 gap-y-1 rounded-md border border-line px-3 py-2"
        >
          <div className="min-w-0 flex-1 basis-60">
            <p className="font-medium">{job.title}</p>
            <p className="text-dim text-sm">
              {job.step}
              {job.secondsLeft !== null && ` · ${t('job.left', { time: formatDuration(job.secondsLeft, locale) })}`}
            </p>
            <ProgressBar label={job.title} value={job.progress} className="mt-1" />
          </div>
          {job.cancellable && (
            <Button
              size="sm"
              pending={cancel.isPending}
              onClick={() => cancel.mutate({ input: { params: { id: job.id } } })}
            >
              {t('job.cancel')}
            </Button>
          )}
        </li>
      ))}
    </ul>
  )
}
