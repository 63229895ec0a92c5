'use client'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Disclosure, Skeleton } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import type { SpecForm } from './form.ts'

const Loading = () => <Skeleton className="h-24" />
const DETAILS = {
  drive: dynamic(() => import('./drive-details.tsx').then((part) => part.DriveDetails), {
    ssr: false,
    loading: Loading,
  }),
  card: dynamic(() => import('./card-details.tsx').then((part) => part.CardDetails), { ssr: false, loading: Loading }),
} as const

/** What the rows themselves show of their device. */
const ON_ROW = /^(image|sizeGiB|restrict|forwards|id)(\.|$)/

/** Everything else about a drive or a card: closed, fetched when opened, open by itself when something in it is wrong. */
export function Details({
  form,
  kind,
  index,
}: {
  readonly form: SpecForm
  readonly kind: 'drive' | 'card'
  readonly index: number
}) {
  const t = useT(deviceForms)
  const [opened, setOpened] = useState(false)
  const path = `${kind === 'drive' ? 'disks' : 'networks'}.${index}.`
  const broken = form.broken?.some((field) => field.startsWith(path) && !ON_ROW.test(field.slice(path.length))) ?? false
  const Content = DETAILS[kind]
  return (
    <Disclosure {...(broken ? { open: true } : {})} onOpen={() => setOpened(true)} summary={t(`details.${kind}`)}>
      {(opened || broken) && <Content form={form} index={index} />}
    </Disclosure>
  )
}
