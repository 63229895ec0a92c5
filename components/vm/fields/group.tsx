'use client'
import { type ReactNode, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Disclosure } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { spec } from '#lib/i18n/messages/en/spec.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { isRowList, type RowList, type ScalarDraft } from '../spec-draft.ts'
import type { SpecForm } from './form.ts'

type Field = keyof ScalarDraft | RowList

/** One closed group: its name and, in a few words, its value. Opens by itself when something in it is wrong. */
export function Group({
  form,
  title,
  summary,
  fields,
  children,
}: {
  readonly form: SpecForm
  readonly title: string
  readonly summary: string
  readonly fields: readonly (keyof VmSpec)[]
  readonly children: ReactNode
}) {
  const t = useT(spec)
  const [opened, setOpened] = useState(false)
  const isTouched = (field: Field) =>
    isRowList(field) ? (form.draft.lists?.[field]?.length ?? 0) > 0 : form.draft.scalars[field] !== undefined
  // Drives, cards and the name stand on the page itself.
  const own = fields as readonly Field[]
  const touched = form.mode === 'create' && own.some(isTouched)
  const broken = fields.some(
    (field) => form.errorOf(field) !== undefined || form.broken?.some((path) => path.split('.')[0] === field),
  )
  const takeBack = () => {
    for (const field of own) if (!isRowList(field)) form.setScalar(field, undefined)
    form.update((draft) => ({
      ...draft,
      lists: Object.fromEntries(Object.entries(draft.lists ?? {}).filter(([list]) => !fields.some((f) => f === list))),
    }))
  }
  return (
    <div className="py-2.5" data-fields={fields.join(' ')} tabIndex={-1}>
      <Disclosure
        {...(broken ? { open: true } : {})}
        onOpen={() => setOpened(true)}
        summary={
          <span className="flex min-w-0 flex-wrap gap-x-2 text-start">
            <span className="font-medium text-ink">{title}</span>
            <span className="min-w-0 text-faint [overflow-wrap:anywhere]">{summary}</span>
          </span>
        }
      >
        {(opened || broken) && (
          <div className="flex flex-col gap-3 ps-5 pb-1">
            {children}
            {touched && (
              <div>
                <Button size="sm" variant="quiet" onClick={takeBack}>
                  {t('more.useDefault')}
                </Button>
              </div>
            )}
          </div>
        )}
      </Disclosure>
    </div>
  )
}
