'use client'
import { Button } from '#components/ui/button.tsx'
import { Banner, Disclosure, Output } from '#components/ui/feedback.tsx'
import { useFieldName } from '#components/vm/fields/field-name.ts'
import { anchorOf, focusField } from '#components/vm/fields/form.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { describeDetails } from '#lib/client/toasts.ts'
import { definition } from '#lib/i18n/messages/en/definition.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { DefinitionForm } from './use-definition-form.ts'

/** Fields only the dashboard uses: a running guest does not mind. */
const IMMEDIATE = new Set(['name', 'description', 'tags', 'autostart'])

/** What was changed, when the guest gets it, and the buttons. */
export function SavePanel({
  page,
  vm,
  mayNot,
}: {
  readonly page: DefinitionForm
  readonly vm: Vm
  readonly mayNot: string | null
}) {
  const t = useT(definition)
  const nameOf = useFieldName()
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const { changed, failure, removedDisks } = page
  const blocked = mayNot ?? (changed.length === 0 ? t('nothing') : page.problems.length > 0 ? t('mend') : null)
  const save = () => {
    if (removedDisks.length === 0) {
      void page.save()
      return
    }
    askToConfirm({
      title: t('confirmTitle', { count: removedDisks.length, name: vm.name }),
      body: t('removes'),
      goes: removedDisks.map((disk) => t('confirmGoes', { id: disk.id, size: String(disk.sizeGiB) })),
      stays: [t('confirmStays')],
      confirmLabel: t('confirm'),
      danger: true,
      // A refusal belongs to the form, not to the question.
      run: () => page.save(),
    })
  }
  return (
    <>
      <h2>{t('changes')}</h2>
      {changed.length === 0 ? (
        <p className="text-dim">{t('noChanges')}</p>
      ) : (
        <>
          <p>{t('changed', { count: changed.length })}</p>
          <ul className="flex flex-col gap-1">
            {changed.map((field) => (
              <li key={field}>
                <a
                  href={`#${anchorOf(`/${field}`)}`}
                  className="rounded-sm text-accent underline-offset-2 hover:underline"
                  onClick={(event) => {
                    event.preventDefault()
                    focusField(`/${field}`)
                  }}
                >
                  {nameOf(field)}
                </a>
                {!isOff && (
                  <span className="block text-faint text-sm">{t(IMMEDIATE.has(field) ? 'immediate' : 'later')}</span>
                )}
              </li>
            ))}
          </ul>
          {isOff && <p className="text-faint text-sm">{t('off')}</p>}
          {removedDisks.length > 0 && <p className="text-attention text-sm">{t('removes')}</p>}
        </>
      )}
      {page.isStale && (
        <Banner
          tone="attention"
          actions={
            <Button size="sm" onClick={page.discard}>
              {t('reload')}
            </Button>
          }
        >
          <p className="font-medium">{t('stale')}</p>
          <p className="text-sm">{t('staleHint')}</p>
        </Banner>
      )}
      {failure && (
        <div role="alert">
          <Banner tone="error">
            <p className="font-medium">{t('failed')}</p>
            <p>{failure.message}</p>
            <Disclosure summary={failure.code}>
              <Output label={failure.code}>{describeDetails(failure)}</Output>
            </Disclosure>
          </Banner>
        </div>
      )}
      <p role="status" className="text-sm empty:hidden">
        {page.note}
      </p>
      <div className="flex flex-wrap gap-2">
        <Button variant="primary" disabledReason={blocked} pending={page.isSaving} onClick={save}>
          {t('save')}
        </Button>
        <Button disabledReason={changed.length === 0 ? t('nothing') : null} onClick={page.discard}>
          {t('revert')}
        </Button>
      </div>
    </>
  )
}
