'use client'
import { useQuery } from '@tanstack/react-query'
import { useRouter, useSearchParams } from 'next/navigation'
import { useEffect, useRef } from 'react'
import { Breadcrumbs } from '#components/nav/breadcrumbs.tsx'
import { ButtonLink } from '#components/nav/link.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { EmptyState } from '#components/ui/feedback.tsx'
import { TextField } from '#components/ui/field.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { DriveFields } from '#components/vm/fields/drive-fields.tsx'
import { shownValue } from '#components/vm/fields/form.ts'
import { NetworkFields } from '#components/vm/fields/network-fields.tsx'
import { PlatformFields } from '#components/vm/fields/platform-fields.tsx'
import { ResourceFields } from '#components/vm/fields/resource-fields.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { spec as specMessages } from '#lib/i18n/messages/en/spec.ts'
import { paths } from '#lib/paths.ts'
import type { GuestKind } from '#lib/schema/vm-spec.ts'
import { BootSection } from './boot-section.tsx'
import { DriverCd } from './driver-cd.tsx'
import { FirstStartSection } from './first-start-section.tsx'
import { FromAppliance } from './from-appliance.tsx'
import { HomeField } from './home-field.tsx'
import { PlanPanel } from './plan-panel.tsx'
import { SubmitBar } from './submit-bar.tsx'
import { TemplatesSection } from './templates-section.tsx'
import { type CreateForm, useCreateForm } from './use-create-form.ts'
import { useSubmit } from './use-submit.ts'

export function CreateScreen() {
  const t = useT(create)
  const may = useCan('vm.create')
  const known = useQuery(queries.session()).isSuccess
  if (known && !may)
    return (
      <Page>
        <EmptyState title={t('notAllowed')} actions={<ButtonLink href={paths.vms()}>{t('crumb')}</ButtonLink>} />
      </Page>
    )
  return <CreatePage />
}

function CreatePage() {
  const t = useT(create)
  const router = useRouter()
  const page = useCreateForm()
  useImageFromAddress(page)
  const submit = useSubmit(page, (path) => router.push(path))
  return (
    <Page>
      <div className="flex flex-col gap-1">
        <Breadcrumbs steps={[{ href: paths.vms(), label: t('crumb') }]} />
        <PageHeader title={t('title')} />
      </div>
      <FromAppliance page={page} />
      <TemplatesSection />
      <form
        // Enter in a field does what the main button does.
        onSubmit={(event) => {
          event.preventDefault()
          submit.run(true)
        }}
        className="grid min-w-0 gap-x-8 gap-y-6 lg:grid-cols-[minmax(0,1fr)_22rem]"
      >
        <div className="flex min-w-0 flex-col gap-8">
          <BootSection page={page} />
          <IdentitySection page={page} />
          <FirstStartSection page={page} />
          <ResourceFields form={page.form} />
          <DriveFields form={page.form} />
          <NetworkFields form={page.form} />
          <PlatformFields form={page.form} accelerator={page.plan?.commandLine.accelerator ?? null} />
        </div>
        <aside
          aria-label={t('plan.title')}
          className="flex min-w-0 flex-col gap-4 self-start rounded-md border border-line bg-surface p-4 lg:sticky lg:top-16 lg:max-h-[calc(100dvh-10rem)] lg:overflow-y-auto"
        >
          <PlanPanel page={page} />
          <SubmitBar page={page} submit={submit} />
        </aside>
      </form>
    </Page>
  )
}

/** `?image=ID`, as the image library links here. */
function useImageFromAddress(page: CreateForm) {
  const wanted = useSearchParams().get('image')
  const images = useQuery(queries.imageList()).data?.items
  const done = useRef(false)
  useEffect(() => {
    const image = images?.find((candidate) => candidate.id === wanted)
    if (done.current || image === undefined) return
    done.current = true
    page.choose(image)
  })
}

const KINDS: readonly GuestKind[] = ['linux', 'windows', 'bsd', 'other']

function IdentitySection({ page }: { readonly page: CreateForm }) {
  const t = useT(create)
  const words = useT(specMessages)
  const locale = useLocale()
  const { form } = page
  const typed = form.draft.name
  const spec = form.effective
  const isDetected = form.draft.scalars.guest === undefined && page.boot?.guest != null
  return (
    <Section title={t('identity')}>
      <div id="field-name" className="max-w-md">
        <TextField
          label={t('name.label')}
          hint={typed === '' ? t('name.suggested', { name: page.suggestion }) : t('name.hint')}
          placeholder={page.suggestion}
          maxLength={64}
          spellCheck={false}
          value={typed}
          onChange={(event) => form.update((draft) => ({ ...draft, name: event.target.value }))}
          error={form.errorOf('name')}
        />
      </div>
      <HomeField page={page} />
      <div id="field-guest" tabIndex={-1} className="flex flex-col gap-1.5">
        <RadioCards
          legend={t('guest.legend')}
          name="guest"
          columns="grid-cols-2 sm:grid-cols-4"
          value={shownValue(form, 'guest')}
          onValue={(guest) => form.setScalar('guest', guest)}
          error={form.errorOf('guest')}
          options={KINDS.map((kind) => ({
            value: kind,
            label: t(`guest.${kind}`),
            ...(isDetected && page.boot?.guest === kind ? { description: t('guest.detected') } : {}),
          }))}
        />
        <p className="min-h-5 text-faint text-sm">
          {spec &&
            t('guest.sets', {
              cpus: spec.cpus,
              memory: formatMiB(spec.memoryMiB, locale),
              firmware: words(`firmware.${spec.firmware}`),
              display: words(`display.${spec.display}`),
              clock: spec.clock === 'utc' ? 'UTC' : words('clock.localtime'),
            })}
        </p>
        <DriverCd page={page} />
      </div>
    </Section>
  )
}
