'use client'
import { useQuery } from '@tanstack/react-query'
import { useSearchParams } from 'next/navigation'
import { useEffect, useRef, useState } from 'react'
import { ApplianceReport } from '#components/images/appliance-report.tsx'
import { Button } from '#components/ui/button.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import type { SpecInput } from '#components/vm/spec-draft.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { images as messages } from '#lib/i18n/messages/en/images.ts'
import type { CreateForm } from './use-create-form.ts'

/** `?appliance=ID`: fills the page with what an OVA described, and says what was lost of it. */
export function FromAppliance({ page }: { readonly page: CreateForm }) {
  const t = useT(messages)
  const tApp = useT(app)
  const wanted = useSearchParams().get('appliance')
  const list = useQuery({ ...queries.applianceList(), enabled: wanted !== null })
  const images = useQuery(queries.imageList()).data?.items
  const appliance = list.data?.items.find(({ id }) => id === wanted)
  const done = useRef(false)
  const [isOpen, setOpen] = useState(false)
  useEffect(() => {
    if (done.current || appliance === undefined || images === undefined) return
    done.current = true
    const first = appliance.draft.disks?.find(({ image }) => typeof image === 'string')?.image
    // The draft went through the same schema that create takes.
    page.fill(appliance.draft as SpecInput, images.find(({ id }) => id === first) ?? null)
  })
  if (wanted === null) return null
  if (appliance === undefined)
    return list.isSuccess ? <Banner tone="attention">{t('appliances.missing')}</Banner> : null
  const lost = appliance.report.filter(({ fate }) => fate === 'dropped').length
  return (
    <>
      <Banner tone={lost > 0 ? 'attention' : 'info'}>
        <span className="flex flex-wrap items-center gap-x-3 gap-y-1">
          <span className="min-w-0 break-words">
            {t('appliances.from', { name: appliance.name })} {t('appliances.lost', { count: lost })}.
          </span>
          <Button size="sm" onClick={() => setOpen(true)}>
            {t('appliances.report')}
          </Button>
        </span>
      </Banner>
      {isOpen && (
        <Dialog
          title={t('appliances.reportOf', { name: appliance.name })}
          closeLabel={tApp('close')}
          onClose={() => setOpen(false)}
          width="md"
          footer={<Button onClick={() => setOpen(false)}>{tApp('close')}</Button>}
        >
          <p className="text-dim">{t('appliances.reportIntro')}</p>
          <ApplianceReport report={appliance.report} />
        </Dialog>
      )}
    </>
  )
}
