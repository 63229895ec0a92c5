'use client'
import { useQuery } from '@tanstack/react-query'
import { BookOpen, Link2 } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useEffect, useRef, useState } from 'react'
import { createPortal } from 'react-dom'
import { JobLine } from '#components/images/transfer-jobs.tsx'
import { Button } from '#components/ui/button.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { Image } from '#lib/schema/image.ts'

const DownloadDialog = dynamic(() => import('#components/images/download-dialog.tsx').then((m) => m.DownloadDialog), {
  ssr: false,
})
const CatalogueDialog = dynamic(
  () => import('#components/images/catalogue-dialog.tsx').then((m) => m.CatalogueDialog),
  { ssr: false },
)

/** Fetches something to boot from elsewhere; what it brings is chosen when it is there. */
export function GetImage({
  images,
  onGot,
}: {
  readonly images: readonly Image[]
  readonly onGot: (image: Image) => void
}) {
  const t = useT(create)
  const words = useT(messages)
  const canAdd = useCan('image.add')
  const [dialog, setDialog] = useState<'download' | 'catalogue' | null>(null)
  const [jobId, setJobId] = useState<string | null>(null)
  const job = useQuery(queries.jobList()).data?.items.find(({ id }) => id === jobId)
  const got = images.find(({ id }) => id === job?.result)
  const latest = useRef(onGot)
  latest.current = onGot
  useEffect(() => {
    if (got === undefined) return
    setJobId(null)
    latest.current(got)
  }, [got])
  const refused = canAdd ? null : t('boot.uploadForbidden')
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap gap-2">
        <Button icon={<BookOpen size={15} aria-hidden="true" />} onClick={() => setDialog('catalogue')}>
          {words('catalogue.open')}
        </Button>
        <Button
          icon={<Link2 size={15} aria-hidden="true" />}
          disabledReason={refused}
          onClick={() => setDialog('download')}
        >
          {words('download.title')}
        </Button>
      </div>
      {job && (
        <ul>
          <JobLine job={job} />
        </ul>
      )}
      {dialog === 'download' &&
        createPortal(
          <DownloadDialog onClose={() => setDialog(null)} onStarted={(started) => setJobId(started.id)} />,
          document.body,
        )}
      {dialog === 'catalogue' &&
        createPortal(
          <CatalogueDialog
            onClose={() => setDialog(null)}
            onStarted={(started) => {
              setJobId(started.id)
              setDialog(null)
            }}
            onChoose={(id) => {
              const image = images.find((candidate) => candidate.id === id)
              if (image !== undefined) onGot(image)
              setDialog(null)
            }}
          />,
          document.body,
        )}
    </div>
  )
}
