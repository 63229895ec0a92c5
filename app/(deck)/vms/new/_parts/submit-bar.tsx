'use client'
import { useEffect, useRef } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Banner, Disclosure, Output } from '#components/ui/feedback.tsx'
import { useFieldName } from '#components/vm/fields/field-name.ts'
import { problemsOf } from '#components/vm/problems.ts'
import { useT } from '#lib/client/i18n.tsx'
import { describeDetails } from '#lib/client/toasts.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { paths } from '#lib/paths.ts'
import type { CreateForm } from './use-create-form.ts'
import type { Submit, SubmitFailure } from './use-submit.ts'

/** The two buttons, and above them what went wrong the last time. */
export function SubmitBar({ page, submit }: { readonly page: CreateForm; readonly submit: Submit }) {
  const t = useT(create)
  return (
    <div className="-mx-4 -mb-4 flex flex-col gap-3 border-line border-t bg-surface p-4 lg:sticky lg:-bottom-4">
      {submit.failure && <Failure failure={submit.failure} page={page} submit={submit} />}
      <p role="status" className="text-dim text-sm empty:hidden">
        {submit.note}
      </p>
      <div className="flex flex-wrap gap-2">
        <Button
          type="submit"
          variant="primary"
          disabledReason={submit.blocked}
          pending={submit.state === 'creating' || submit.state === 'starting'}
        >
          {t('submit.createStart')}
        </Button>
        <Button disabledReason={submit.blocked} pending={submit.state === 'creating'} onClick={() => submit.run(false)}>
          {t('submit.create')}
        </Button>
      </div>
      {submit.blocked && <p className="text-faint text-sm">{submit.blocked}</p>}
    </div>
  )
}

function Failure({
  failure,
  page,
  submit,
}: {
  readonly failure: SubmitFailure
  readonly page: CreateForm
  readonly submit: Submit
}) {
  const t = useT(create)
  const nameOf = useFieldName()
  const ref = useRef<HTMLDivElement>(null)
  // A failure answers a press of a button that may be out of sight by now.
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new failure is what moves the focus
  useEffect(() => {
    ref.current?.focus()
    ref.current?.scrollIntoView({ block: 'nearest' })
  }, [failure])
  const { error, step } = failure
  const vm = step === 'create' ? null : failure.vm
  const title =
    vm === null ? t('failed.create') : t(step === 'start' ? 'failed.start' : 'failed.deleteFailed', { name: vm.name })
  const [problem] = problemsOf(error)
  return (
    <div ref={ref} tabIndex={-1} role="alert">
      <Banner tone="error">
        <p className="font-medium">{title}</p>
        <p>{error.message}</p>
        {vm === null && problem !== undefined && problem.field !== '' && (
          <Button size="sm" variant="quiet" className="-ms-2" onClick={() => page.showProblem(problem)}>
            {t('failed.showField', { field: nameOf(problem.field) })}
          </Button>
        )}
        <Disclosure summary={t('failed.evidence')}>
          <Output label={t('failed.evidence')}>{describeDetails(error)}</Output>
        </Disclosure>
        {vm !== null && (
          <div className="mt-3 flex flex-wrap gap-2">
            <Button size="sm" pending={submit.state === 'starting'} onClick={() => submit.startAgain(vm)}>
              {t('failed.again')}
            </Button>
            <Button size="sm" pending={submit.state === 'deleting'} onClick={() => void submit.deleteAndEdit(vm)}>
              {t('failed.deleteEdit')}
            </Button>
            <ButtonLink size="sm" href={paths.vm(vm.id)}>
              {t('failed.open', { name: vm.name })}
            </ButtonLink>
          </div>
        )}
      </Banner>
    </div>
  )
}
