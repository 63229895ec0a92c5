'use client'
import { useQuery } from '@tanstack/react-query'
import { ArrowLeft, X } from 'lucide-react'
import { useEffect, useId, useRef } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Disclosure } from '#components/ui/feedback.tsx'
import { DriveRow } from '#components/vm/fields/drive-fields.tsx'
import { CardRow } from '#components/vm/fields/network-fields.tsx'
import { PARTS } from '#components/vm/fields/parts.tsx'
import { ResourceFields } from '#components/vm/fields/resource-fields.tsx'
import { RowFields } from '#components/vm/fields/row-editor.tsx'
import { FirmwareReset } from '#components/vm/firmware-reset.tsx'
import { PropertiesEditor, type PropertyValues } from '#components/vm/properties-editor.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { driverOf } from '#lib/devices/driver-of.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { DeviceList } from '#lib/vm/live-types.ts'
import { ApplyBar } from './apply-bar.tsx'
import { countIn, indexIn, LIST_OF, withAdded } from './change-draft.ts'
import { ChangePlan, PlanSummary } from './change-plan.tsx'
import { findDevice, type Target } from './entries.ts'
import { useDeviceForm } from './use-device-form.ts'
import { useLeaveGuard } from './use-leave-guard.ts'

/** Changes one device or part, or adds one: the form, what it would do, and the buttons. */
export function Editor({
  vm,
  target,
  mayNot,
  onClose,
  onDone,
}: {
  readonly vm: Vm
  readonly target: Target
  readonly mayNot: string | null
  readonly onClose: () => void
  readonly onDone: (note: string) => void
}) {
  const t = useT(devicesPage)
  const titleId = useId()
  const title = useRef<HTMLHeadingElement>(null)
  const form = useDeviceForm(vm, (draft) => (target.kind === 'add' ? withAdded(draft, target.what) : draft), {
    isNew: target.kind === 'add',
  })
  const name =
    target.kind === 'device' ? target.id : t(target.kind === 'part' ? `part.${target.part}` : `addKind.${target.what}`)
  const leave = useLeaveGuard(form.isTouched, name)
  useEffect(() => {
    title.current?.focus({ preventScroll: true })
    title.current?.scrollIntoView({ block: 'nearest' })
  }, [])
  const close = () => leave(onClose)
  return (
    <section
      aria-labelledby={titleId}
      className="flex min-w-0 flex-col rounded-md border border-line bg-surface lg:sticky lg:top-14 lg:max-h-[calc(100dvh-5rem)]"
    >
      <header className="flex items-center gap-2 border-line border-b px-4 py-2">
        <IconButton label={t('editor.back')} className="lg:hidden" onClick={close}>
          <ArrowLeft size={16} aria-hidden="true" />
        </IconButton>
        <h2 id={titleId} ref={title} tabIndex={-1} className="min-w-0 flex-1 break-words text-lg outline-none">
          {target.kind === 'add' ? t(`addTitle.${target.what}`) : t('editor.title', { name })}
        </h2>
        <IconButton label={t('editor.close')} className="max-lg:hidden" onClick={close}>
          <X size={16} aria-hidden="true" />
        </IconButton>
      </header>
      <form
        aria-labelledby={titleId}
        // The buttons below say when; Enter in a field must not choose.
        onSubmit={(event) => event.preventDefault()}
        className="flex min-h-0 flex-col gap-5 overflow-y-auto px-4 py-4"
      >
        <fieldset
          disabled={mayNot !== null}
          className="@container flex min-w-0 flex-col gap-4 disabled:[&_:is(input,select,textarea,button)]:opacity-65"
        >
          <Body vm={vm} target={target} form={form} mayNot={mayNot} />
        </fieldset>
        <div className="border-line border-t pt-4">
          <ChangePlan vm={vm} form={form} />
        </div>
      </form>
      <footer className="flex flex-wrap items-center gap-2 border-line border-t px-4 py-3">
        <ApplyBar vm={vm} form={form} mayNot={mayNot} name={name} onDone={onDone} />
        <Button variant="quiet" onClick={close}>
          {t('editor.cancel')}
        </Button>
        <p className="figures ms-auto text-dim text-sm">
          <PlanSummary vm={vm} form={form} />
        </p>
      </footer>
    </section>
  )
}

function Body({
  vm,
  target,
  form: page,
  mayNot,
}: {
  readonly vm: Vm
  readonly target: Target
  readonly form: ReturnType<typeof useDeviceForm>
  readonly mayNot: string | null
}) {
  const t = useT(devicesPage)
  const { form } = page
  if (target.kind === 'part') {
    const part = PARTS.find(({ id }) => id === target.part)
    return (
      <>
        {(target.part === 'cpu' || target.part === 'memory') && <ResourceFields form={form} />}
        {part && <part.Form form={form} />}
        {target.part === 'machine' && <FirmwareReset vm={vm} />}
      </>
    )
  }
  if (target.kind === 'add') {
    const list = LIST_OF[target.what]
    const stored = page.base.spec[list].length
    const index = countIn(form.draft, list) - 1
    return index < stored ? null : <DeviceFields page={page} list={list} index={index} />
  }
  const place = findDevice(page.base.spec, target.id)
  if (place === null) return <p className="text-dim">{t('editor.gone', { id: target.id })}</p>
  const index = indexIn(form.draft, place.list, target.id)
  if (index < 0) return <p className="text-dim">{t('editor.taken', { name: target.id })}</p>
  const driver = driverOf(page.base.spec, target.id)
  return (
    <>
      <DeviceFields page={page} list={place.list} index={index} />
      {driver !== null && (
        <Disclosure summary={t('editor.properties', { driver })}>
          <PropertiesEditor
            deviceId={target.id}
            driver={driver}
            value={propertiesOf(page, target.id)}
            errorOf={form.errorOf}
            disabledReason={mayNot}
            onChange={(next) => {
              const { [target.id]: _, ...others } = form.draft.scalars.properties ?? {}
              form.setScalar(
                'properties',
                Object.keys(next).length === 0 ? others : { ...others, [target.id]: { ...next } },
              )
            }}
          />
        </Disclosure>
      )}
    </>
  )
}

const propertiesOf = (page: ReturnType<typeof useDeviceForm>, id: string): PropertyValues =>
  page.form.draft.scalars.properties?.[id] ?? {}

function DeviceFields({
  page: { form },
  list,
  index,
}: {
  readonly page: ReturnType<typeof useDeviceForm>
  readonly list: DeviceList
  readonly index: number
}) {
  const images = useQuery(queries.imageList()).data?.items ?? []
  if (list === 'disks') {
    const drive = form.draft.drives[index]
    return drive === undefined ? null : <DriveRow form={form} drive={drive} index={index} images={images} />
  }
  if (list === 'networks') {
    const card = form.draft.cards[index]
    return card === undefined ? null : <CardRow form={form} card={card} index={index} />
  }
  return <RowFields form={form} list={list} index={index} />
}
