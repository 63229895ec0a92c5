'use client'
import { useQuery } from '@tanstack/react-query'
import { Button } from '#components/ui/button.tsx'
import { ProgressBar } from '#components/ui/meter.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { formatBytes, formatDuration } from '#lib/i18n/format.ts'
import { storage as messages } from '#lib/i18n/messages/en/storage.ts'
import type { Job } from '#lib/schema/job.ts'

const WORDS = {
  'volume-move': 'job.move',
  'volume-copy': 'job.copy',
  'volume-convert': 'job.convert',
  'volume-compact': 'job.compact',
} as const
type VolumeJobKind = keyof typeof WORDS
const isOfDisks = (kind: Job['kind']): kind is VolumeJobKind => kind in WORDS

/** Work under way on each disk, by the disk's id; found again after a reload. */
export function useVolumeJobs(): ReadonlyMap<string, Job> {
  const { data } = useQuery(queries.jobList())
  return new Map(
    (data?.items ?? []).flatMap((job) =>
      job.endedAt === null && job.target?.type === 'volume' && isOfDisks(job.kind) ? [[job.target.id, job]] : [],
    ),
  )
}

/** How far it is, where the disk stands. */
export function VolumeJob({ job, name }: { readonly job: Job; readonly name: string }) {
  const t = useT(messages)
  const locale = useLocale()
  const { mutate, isPending } = useOperation('jobCancel', { onError: (cause) => toastError(cause, name) })
  if (!isOfDisks(job.kind)) return null
  const label = t(WORDS[job.kind], { name })
  const facts = [
    job.state === 'queued' ? t('job.queued') : job.step,
    job.doneBytes !== null && job.totalBytes !== null && job.totalBytes > 0
      ? t('job.of', { done: formatBytes(job.doneBytes, locale), total: formatBytes(job.totalBytes, locale) })
      : null,
    job.bytesPerSecond === null ? null : t('job.speed', { speed: formatBytes(job.bytesPerSecond, locale) }),
    job.secondsLeft === null ? null : t('job.left', { time: formatDuration(job.secondsLeft, locale) }),
  ].filter((fact) => fact !== null)
  return (
    <div className="mt-1 flex max-w-xl flex-wrap items-center gap-x-3 gap-y-1">
      <div className="min-w-0 flex-1 basis-52">
        <p className="text-dim text-sm">
          <span className="text-text">{label}</span>
          {facts.length > 0 && <span className="figures">{` · ${facts.join(' · ')}`}</span>}
        </p>
        <ProgressBar label={label} value={job.progress} className="mt-1" />
      </div>
      {job.cancellable && (
        <Button
          size="sm"
          pending={isPending}
          aria-label={t('job.cancelNamed', { name: label })}
          onClick={() => mutate({ input: { params: { id: job.id } } })}
        >
          {t('cancel')}
        </Button>
      )}
    </div>
  )
}
