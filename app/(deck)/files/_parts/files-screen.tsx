'use client'
import { keepPreviousData, queryOptions, useQuery } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { Breadcrumbs } from '#components/nav/breadcrumbs.tsx'
import { ButtonLink } from '#components/nav/link.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Banner, EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { Page, PageHeader } from '#components/ui/page.tsx'
import { call, operationUrl, toApiError } from '#lib/client/api-client.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { formatBytes } from '#lib/i18n/format.ts'
import { files as messages } from '#lib/i18n/messages/en/files.ts'
import { paths } from '#lib/paths.ts'
import { type DiskFiles, type DiskPart, VOLUMES_FROM } from '#lib/schema/disk-files.ts'
import { Folder } from './folder.tsx'
import { Preparing, Stopped } from './preparing.tsx'
import { type FilesOf, type FilesState, useFilesState } from './use-files-state.ts'

const ASK_MS = 1_000

type Query = Record<string, string | number>

const queryOf = ({ device, part, path, offset }: FilesState): Query => ({
  ...(device !== null && { device }),
  ...(part !== null && { part }),
  path,
  ...(offset > 0 && { offset }),
})

async function listFiles(of: FilesOf, state: FilesState, signal: AbortSignal): Promise<DiskFiles> {
  const query = queryOf(state)
  const params = { id: of.id }
  switch (of.kind) {
    case 'image':
      return call('imageFileList', { params, query }, { signal })
    case 'volume':
      return call('volumeFileList', { params, query }, { signal })
    case 'backup':
      return call('backupFileList', { params, query }, { signal })
    case 'snapshot':
      return call('snapshotFileList', { params: { id: of.vmId, snapshotId: of.id }, query }, { signal })
  }
}

const filesQuery = (of: FilesOf, state: FilesState) =>
  queryOptions({
    queryKey: ['files', of, queryOf(state)] as const,
    queryFn: async ({ signal }) => {
      try {
        return await listFiles(of, state, signal)
      } catch (cause) {
        if (signal.aborted) throw cause
        throw toApiError(cause)
      }
    },
    retry: false,
    // A disk may be changed at any time.
    staleTime: 0,
    // Whoever asks no more lets the small system end, also while it starts.
    refetchInterval: ({ state: { data } }) => (data?.preparing ? ASK_MS : false),
    refetchIntervalInBackground: true,
  })

function contentUrl(of: FilesOf, query: Query): string {
  const params = { id: of.id }
  switch (of.kind) {
    case 'image':
      return operationUrl('imageFileContent', { params, query: query as { path: string } })
    case 'volume':
      return operationUrl('volumeFileContent', { params, query: query as { path: string } })
    case 'backup':
      return operationUrl('backupFileContent', { params, query: query as { path: string } })
    case 'snapshot':
      return operationUrl('snapshotFileContent', {
        params: { id: of.vmId, snapshotId: of.id },
        query: query as { path: string },
      })
  }
}

const HOME: Record<FilesOf['kind'], (of: FilesOf) => string> = {
  image: () => paths.images(),
  volume: () => paths.storage(),
  backup: () => paths.backups(),
  snapshot: (of) => paths.vmSnapshots(of.kind === 'snapshot' ? of.vmId : ''),
}

export function FilesScreen() {
  const t = useT(messages)
  const [state, addressOf] = useFilesState()
  const { of } = state
  if (of === null)
    return (
      <Page>
        <PageHeader title={t('loadingTitle')} />
        <EmptyState title={t('nothing')} actions={<ButtonLink href={paths.images()}>{t('crumbs.image')}</ButtonLink>}>
          {t('nothingHint')}
        </EmptyState>
      </Page>
    )
  return <Files of={of} state={state} addressOf={addressOf} />
}

function Files({
  of,
  state,
  addressOf,
}: {
  readonly of: FilesOf
  readonly state: FilesState
  readonly addressOf: ReturnType<typeof useFilesState>[1]
}) {
  const t = useT(messages)
  const router = useRouter()
  const [stopped, setStopped] = useState<string | null>(null)
  const place = JSON.stringify([of, state.device, state.part])
  const isStopped = stopped === place
  const { data, error, refetch, isPlaceholderData, isPending } = useQuery({
    ...filesQuery(of, state),
    enabled: !isStopped,
    placeholderData: keepPreviousData,
  })
  const failed = error !== null && !isPlaceholderData
  const go = (change: Parameters<typeof addressOf>[0]) => router.push(addressOf(change))
  const chosen = failed ? state.part : (data?.part ?? state.part)
  return (
    <Page>
      <div className="flex flex-col gap-1">
        <Breadcrumbs steps={[{ href: HOME[of.kind](of), label: t(`crumbs.${of.kind}`) }]} />
        <PageHeader title={data ? t('title', { name: data.title }) : t('loadingTitle')} />
      </div>
      <p className="-mt-3 max-w-prose text-dim">{t('intro')}</p>
      {data && data.devices.length > 1 && (
        <Select
          className="max-w-xs"
          label={t('device')}
          value={data.device ?? ''}
          onChange={(event) => go({ device: event.target.value, part: null, path: '/' })}
          options={data.devices.map((device) => ({ value: device, label: device }))}
        />
      )}
      {data && !(data.parts.length === 1 && data.parts[0]?.problem === null) && (
        <Parts parts={data.parts} chosen={chosen} onChoose={(part) => go({ part, path: '/' })} />
      )}
      {failed ? (
        <LoadError error={error} onRetry={() => void refetch()} />
      ) : isPending ? (
        <div className="flex flex-col" aria-busy="true">
          {[0, 1, 2, 3, 4].map((line) => (
            <div key={line} className="flex h-9 items-center border-line border-b">
              <Skeleton className="h-4 w-1/3" />
            </div>
          ))}
        </div>
      ) : isStopped ? (
        <Stopped onOpen={() => setStopped(null)} />
      ) : data.preparing && !isPlaceholderData ? (
        <Preparing preparing={data.preparing} onCancel={() => setStopped(place)} />
      ) : data.part === null ? (
        data.parts.some(({ problem }) => problem === null) && <Banner tone="info">{t('partChoose')}</Banner>
      ) : (
        <Folder
          key={`${data.part} ${state.path}`}
          files={data}
          isBusy={isPlaceholderData}
          addressOf={addressOf}
          onGo={go}
          contentUrl={(path) =>
            contentUrl(of, {
              ...(data.device !== null && { device: data.device }),
              ...(data.part !== null && { part: data.part }),
              path,
            })
          }
        />
      )}
    </Page>
  )
}

function Parts({
  parts,
  chosen,
  onChoose,
}: {
  readonly parts: readonly DiskPart[]
  readonly chosen: number | null
  readonly onChoose: (part: number) => void
}) {
  const t = useT(messages)
  const locale = useLocale()
  const nameOf = (number: number) =>
    number > VOLUMES_FROM
      ? t('volume', { number: number - VOLUMES_FROM })
      : number === 0
        ? t('wholeDisk')
        : t('part', { number })
  return (
    <RadioCards
      legend={t('parts')}
      name="part"
      value={chosen === null ? null : String(chosen)}
      onValue={(part) => onChoose(Number(part))}
      options={parts.map((part) => ({
        value: String(part.number),
        label: nameOf(part.number),
        description: [
          part.fileSystem,
          part.label,
          formatBytes(part.sizeBytes, locale),
          part.isHelped && part.problem === null && t('helped'),
        ]
          .filter(Boolean)
          .join(' · '),
        disabledReason: part.problem,
      }))}
    />
  )
}
