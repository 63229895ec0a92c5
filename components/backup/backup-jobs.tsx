'use client'
import { useQuery } from '@tanstack/react-query'
import { Button } from '#components/ui/button.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatDuration, formatRate } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { backups as messages } from '#lib/i18n/messages/en/backups.ts'
import type { Backup } from '#lib/schema/backup.ts'
import type { Job } from '#lib/schema/job.ts'

/** Work on backups that is under way, in place. */
export function BackupJobs({ vmId, items }: { readonly vmId: string | null; readonly items: readonly Backup[] }) {
  const { data } = useQuery(queries.jobList())
  const shown = (data?.items ?? []).filter(
    ({ kind, state, target }) =>
      kind.startsWith('backup-') &&
      (state === 'running' || state === 'queued') &&
      (vmId === null || target?.id === vmId || items.some(({ id }) => id === target?.id)),
  )
  if (shown.length === 0) return null
  return (
    <ul className="flex flex-col gap-3">
      {shown.map((job) => (
        <JobLine key={job.id} job={job} />
      ))}
    </ul>
  )
}

function JobLine({ job }: { readonly job: Job }) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const cancel = useOperation('jobCancel', { onError: (error) => toastError(error, job.title) })
  return (
    <li className="flex flex-col gap-1 rounded-md border border-line px-3 py-2">
      <div className="flex flex-wrap items-baseline justify-between gap-x-3">
        <span className="font-medium">{job.title}</span>
        <span className="figures text-faint text-sm">
          {job.bytesPerSecond !== null && job.secondsLeft !== null
            ? t('progress', {
                rate: formatRate(job.bytesPerSecond, locale),
                left: formatDuration(job.secondsLeft, locale),
              })
            : null}
        </span>
      </div>
      <div className="flex items-center gap-2">
        <ProgressBar label={job.title} value={job.progress} />
        {job.cancellable && (
          <Button
            size="sm"
            pending={cancel.isPending}
            onClick={() => cancel.mutate({ input: { params: { id: job.id } } })}
          >
            {tApp('jobs.cancel')}
          </Button>
        )}
      </div>
      <p className="min-h-5 text-dim text-sm" role="status">
        {job.step}
      </p>
    </li>
  )
}
