'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { paths } from '#lib/paths.ts'
import type { Job } from '#lib/schema/job.ts'
import type { CatalogueEntry } from '#lib/schema/transfer.ts'
import { JobLine } from './transfer-jobs.tsx'

/** Well-known installers and cloud images, one press away. */
export function CatalogueDialog({
  onClose,
  onStarted,
  onChoose,
}: {
  readonly onClose: () => void
  readonly onStarted?: (job: Job) => void
  /** Offered for what the library has; left out: a link to the create page. */
  readonly onChoose?: (imageId: string) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.catalogueList())
  const [query, setQuery] = useState('')
  const [kind, setKind] = useState('')
  const words = query.toLowerCase().split(/\s+/)
  const shown = data?.items.filter(
    (entry) =>
      (kind === '' || entry.kind === kind) &&
      words.every((word) => `${entry.name} ${entry.os} ${entry.description}`.toLowerCase().includes(word)),
  )
  return (
    <Dialog title={t('catalogue.title')} closeLabel={tApp('close')} onClose={onClose} width="lg">
      <div className="flex flex-col gap-4">
        <p className="text-dim">{t('catalogue.intro')}</p>
        <div className="flex flex-wrap items-end gap-3">
          <TextField
            className="min-w-0 flex-1 basis-48"
            type="search"
            label={t('catalogue.search')}
            value={query}
            onChange={(event) => setQuery(event.target.value)}
          />
          <Select
            label={t('kind')}
            value={kind}
            onChange={(event) => setKind(event.target.value)}
            options={[
              { value: '', label: t('filter.all') },
              { value: 'iso', label: t('catalogue.kinds.iso') },
              { value: 'cloud', label: t('catalogue.kinds.cloud') },
              { value: 'disk', label: t('catalogue.kinds.disk') },
            ]}
          />
        </div>
        {data && data.problems.length > 0 && (
          <Banner tone="attention">
            <p className="font-medium">{t('catalogue.problems')}</p>
            <ul className="list-disc ps-5">
              {data.problems.map((problem) => (
                <li key={problem}>{problem}</li>
              ))}
            </ul>
          </Banner>
        )}
        {error && !data && <LoadError error={error} onRetry={() => void refetch()} />}
        {!data && !error && <Skeleton className="h-40 w-full" />}
        {shown?.length === 0 && <p className="text-dim">{t('catalogue.none')}</p>}
        {shown && (
          <ul className="min-h-40">
            {shown.map((entry) => (
              <EntryLine
                key={entry.id}
                entry={entry}
                {...(onStarted && { onStarted })}
                {...(onChoose && { onChoose })}
              />
            ))}
          </ul>
        )}
      </div>
    </Dialog>
  )
}

function EntryLine({
  entry,
  onStarted,
  onChoose,
}: {
  readonly entry: CatalogueEntry
  readonly onStarted?: (job: Job) => void
  readonly onChoose?: (imageId: string) => void
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const locale = useLocale()
  const canAdd = useCan('image.add')
  const canCreate = useCan('vm.create')
  const jobs = useQuery(queries.jobList()).data?.items
  const fetchEntry = useOperation('catalogueFetch', { onError: () => {}, onSuccess: (job) => onStarted?.(job) })
  const jobId = fetchEntry.data?.id ?? entry.jobId
  const job = jobs?.find(({ id }) => id === jobId)
  const underWay = job !== undefined && (job.endedAt === null || job.state === 'failed')
  const image = entry.images.at(-1)
  return (
    <li className="flex flex-col gap-2 border-line border-b py-2.5">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <div className="min-w-0 flex-1 basis-64">
          <p className="flex flex-wrap items-center gap-x-2 font-medium">
            {entry.name}
            <Badge>{t(`catalogue.kinds.${entry.kind}`)}</Badge>
            {entry.own && <Badge tone="accent">{t('catalogue.own')}</Badge>}
            {image !== undefined && <Badge tone="running">{t('starters.added')}</Badge>}
          </p>
          <p className="text-dim text-sm">{entry.description}</p>
          <p className="break-all text-faint text-xs">
            {t('catalogue.facts', {
              memory: formatMiB(entry.memoryMiB, locale),
              disk: formatMiB(entry.diskGiB * 1024, locale),
            })}{' '}
            · {t(entry.checksum === null ? 'catalogue.unchecked' : 'catalogue.checked')} ·{' '}
            <span className="font-mono">{entry.source}</span>
          </p>
        </div>
        <span className="flex gap-2">
          {image !== undefined &&
            canCreate &&
            (onChoose ? (
              <Button
                size="sm"
                aria-label={t('catalogue.chooseNamed', { name: entry.name })}
                onClick={() => onChoose(image)}
              >
                {t('catalogue.choose')}
              </Button>
            ) : (
              <ButtonLink
                size="sm"
                href={`${paths.vmNew()}?image=${image}`}
                aria-label={t('use', { name: entry.name })}
              >
                {t('useShort')}
              </ButtonLink>
            ))}
          <Button
            size="sm"
            aria-label={t(image === undefined ? 'catalogue.getNamed' : 'catalogue.againNamed', { name: entry.name })}
            pending={fetchEntry.isPending || (job !== undefined && job.endedAt === null)}
            disabledReason={canAdd ? null : tApp('notAllowed')}
            onClick={() => fetchEntry.mutate({ input: { params: { id: entry.id } } })}
          >
            {t(image === undefined ? 'catalogue.get' : 'catalogue.again')}
          </Button>
        </span>
      </div>
      {fetchEntry.error && <Banner tone="error">{fetchEntry.error.message}</Banner>}
      {underWay && job && (
        <ul>
          <JobLine job={job} />
        </ul>
      )}
    </li>
  )
}
