'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { TransferJobs } from '#components/images/transfer-jobs.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Select, TextField } from '#components/ui/field.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { StarterList } from '#components/vm/starters.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { osText } from '#lib/image-facts.ts'
import type { Image } from '#lib/schema/image.ts'
import { AppliancesSection } from './appliances-section.tsx'
import { ImageDetails } from './image-details.tsx'
import { ImageList } from './image-list.tsx'
import { UploadPanel } from './upload-panel.tsx'
import { type ImagesState, useImagesState } from './use-images-state.ts'

const RegisterDialog = dynamic(() => import('./register-dialog.tsx').then((m) => m.RegisterDialog), { ssr: false })
const DownloadDialog = dynamic(() => import('#components/images/download-dialog.tsx').then((m) => m.DownloadDialog), {
  ssr: false,
})
const CatalogueDialog = dynamic(
  () => import('#components/images/catalogue-dialog.tsx').then((m) => m.CatalogueDialog),
  { ssr: false },
)

const matches = (image: Image, { query, kind, use }: ImagesState): boolean =>
  (kind === null || image.kind === kind) &&
  (use === null || image.usedBy.length > 0 === (use === 'used')) &&
  query
    .toLowerCase()
    .split(/\s+/)
    .every((word) =>
      [
        ...[image.name, image.label, image.description, image.addedBy.name, image.guest, image.format, image.sha256],
        ...(image.os === null ? [] : [osText(image.os)]),
        ...(image.bootModes ?? []),
      ]
        .join(' ')
        .toLowerCase()
        .includes(word),
    )

export function ImagesScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.imageList())
  const canAdd = useCan('image.add')
  const canRegister = useCan('image.register')
  const [state, change] = useImagesState()
  const all = data?.items
  const shown = all?.filter((image) => matches(image, state))
  const open = all?.find(({ id }) => id === state.image)
  const close = () => change({ panel: null, image: null, appliance: null })
  return (
    <Page>
      <PageHeader
        title={t('title')}
        actions={
          <>
            <Button onClick={() => change({ panel: 'catalogue' })}>{t('catalogue.open')}</Button>
            <Button disabledReason={canAdd ? null : tApp('notAllowed')} onClick={() => change({ panel: 'download' })}>
              {t('download.open')}
            </Button>
            {canRegister && <Button onClick={() => change({ panel: 'register' })}>{t('register')}</Button>}
          </>
        }
      />
      <p className="-mt-3 max-w-prose text-dim">{t('intro')}</p>
      {canAdd && <UploadPanel onAppliance={(appliance) => change({ appliance })} />}
      <TransferJobs />
      <Section title={t('list')} note={all && <span className="figures">{all.length}</span>}>
        {all && all.length > 0 && (
          <div className="flex flex-wrap items-end gap-3">
            <TextField
              className="min-w-0 flex-1 basis-48"
              type="search"
              label={t('filter.search')}
              value={state.query}
              onChange={(event) => change({ query: event.target.value })}
            />
            <Select
              label={t('kind')}
              value={state.kind ?? ''}
              onChange={(event) => change({ kind: event.target.value === '' ? null : (event.target.value as 'iso') })}
              options={[
                { value: '', label: t('filter.all') },
                { value: 'iso', label: t('kinds.iso') },
                { value: 'disk', label: t('kinds.disk') },
              ]}
            />
            <Select
              label={t('usedBy')}
              value={state.use ?? ''}
              onChange={(event) => change({ use: event.target.value === '' ? null : (event.target.value as 'used') })}
              options={[
                { value: '', label: t('filter.all') },
                { value: 'used', label: t('filter.used') },
                { value: 'unused', label: t('filter.unused') },
              ]}
            />
          </div>
        )}
        {error && !data ? (
          <LoadError error={error} onRetry={() => void refetch()} />
        ) : all?.length === 0 ? (
          <EmptyState title={t('empty.title')}>{t('empty.body')}</EmptyState>
        ) : shown?.length === 0 ? (
          <EmptyState
            title={t('filter.none')}
            actions={<Button onClick={() => change({ query: '', kind: null, use: null })}>{t('filter.clear')}</Button>}
          />
        ) : shown ? (
          <ImageList images={shown} onDetails={(id) => change({ image: id })} />
        ) : (
          <div className="-mt-3 flex flex-col">
            {[0, 1, 2].map((line) => (
              <div key={line} className="flex h-13 items-center border-line border-b">
                <Skeleton className="h-4 w-1/2" />
              </div>
            ))}
          </div>
        )}
      </Section>
      <AppliancesSection open={state.appliance} onOpen={(appliance) => change({ appliance })} />
      <Section title={t('starters.title')} note={t('starters.intro')}>
        <div className="-mt-3">
          <StarterList />
        </div>
      </Section>
      {state.panel === 'register' && canRegister && <RegisterDialog onClose={close} />}
      {state.panel === 'download' && canAdd && <DownloadDialog onClose={close} onStarted={() => {}} />}
      {state.panel === 'catalogue' && <CatalogueDialog onClose={close} />}
      {open && <ImageDetails key={open.id} image={open} onClose={close} />}
    </Page>
  )
}
