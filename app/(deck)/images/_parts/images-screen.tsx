'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button } from '#components/ui/button.tsx'
import { EmptyState, Skeleton } from '#components/ui/feedback.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { StarterList } from '#components/vm/starters.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import { ImageList } from './image-list.tsx'
import { UploadPanel } from './upload-panel.tsx'

const RegisterDialog = dynamic(() => import('./register-dialog.tsx').then((m) => m.RegisterDialog), { ssr: false })

export function ImagesScreen() {
  const t = useT(messages)
  const { data, error, refetch } = useQuery(queries.imageList())
  const canAdd = useCan('image.add')
  const canRegister = useCan('image.register')
  const [registering, setRegistering] = useState(false)
  return (
    <Page>
      <PageHeader
        title={t('title')}
        actions={canRegister && <Button onClick={() => setRegistering(true)}>{t('register')}</Button>}
      />
      <p className="-mt-3 max-w-prose text-dim">{t('intro')}</p>
      {canAdd && <UploadPanel />}
      <Section title={t('list')} note={data && <span className="figures">{data.items.length}</span>}>
        {error && !data ? (
          <LoadError error={error} onRetry={() => void refetch()} />
        ) : data?.items.length === 0 ? (
          <EmptyState title={t('empty.title')}>{t('empty.body')}</EmptyState>
        ) : data ? (
          <ImageList images={data.items} />
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
      <Section title={t('starters.title')} note={t('starters.intro')}>
        <div className="-mt-3">
          <StarterList />
        </div>
      </Section>
      {registering && <RegisterDialog onClose={() => setRegistering(false)} />}
    </Page>
  )
}
