'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Banner, Disclosure, Output, Skeleton } from '#components/ui/feedback.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { ChangeLine } from '#components/vm/change-line.tsx'
import { useFieldName } from '#components/vm/fields/field-name.ts'
import { focusField } from '#components/vm/fields/form.ts'
import { pointerOf } from '#components/vm/problems.ts'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { describeDetails } from '#lib/client/toasts.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { PendingChange, Vm } from '#lib/schema/vm-state.ts'
import { same } from '#lib/vm/same.ts'
import type { DeviceForm } from './use-device-form.ts'

const PlanLine = dynamic(() => import('./plan-line.tsx').then((part) => part.PlanLine), { ssr: false })

/** What a plan changes beyond what waited before, and what the guest gets of it when. */
export function newChanges(vm: Pick<Vm, 'pending'>, changes: readonly PendingChange[]) {
  const isOld = (change: PendingChange) =>
    vm.pending.some(
      (waiting) => waiting.path === change.path && same(waiting.next, change.next) && same(waiting.live, change.live),
    )
  return { fresh: changes.filter((change) => !isOld(change)), old: changes.filter(isOld) }
}

/** By when the guest gets them. What is taken out at once still needs the guest's consent. */
function sortChanges(changes: readonly PendingChange[]) {
  const needsConsent = (change: PendingChange) => change.path.endsWith('/-')
  const isLater = (change: PendingChange) => change.waiting === 'restart'
  return {
    atOnce: changes.filter((change) => !isLater(change) && !needsConsent(change)),
    asked: changes.filter((change) => !isLater(change) && needsConsent(change)),
    later: changes.filter(isLater),
  }
}

/** The plan in half a line, for where it is out of sight. */
export function PlanSummary({ vm, form }: { readonly vm: Vm; readonly form: DeviceForm }) {
  const t = useT(devicesPage)
  const { plan, problems } = form
  if (!form.isChanged) return null
  if (problems.length > 0)
    return <span className="text-crashed">{t('editor.sumProblems', { count: problems.length })}</span>
  if (plan === null || vm.live === undefined) return null
  const { atOnce, asked, later } = sortChanges(newChanges(vm, plan.changes).fresh)
  return [
    atOnce.length > 0 && t('editor.sumNow', { count: atOnce.length }),
    asked.length > 0 && t('editor.sumAsked', { count: asked.length }),
    later.length > 0 && t('editor.sumLater', { count: later.length }),
  ]
    .filter(Boolean)
    .join(' · ')
}

/** The plan of a change before it is applied: at once, later and why, warnings, and the command line. */
export function ChangePlan({ vm, form }: { readonly vm: Vm; readonly form: DeviceForm }) {
  const t = useT(devicesPage)
  const nameOf = useFieldName()
  const [lineOpen, setLineOpen] = useState(false)
  // What was said of the definition before is no news.
  const known = useQuery({ ...queries.vmCommandLine(vm.id), enabled: form.isChanged }).data?.warnings ?? []
  const { plan, problems, failure } = form
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  const { fresh, old } = newChanges(vm, plan?.changes ?? [])
  const { atOnce, asked, later } = sortChanges(fresh)
  const warnings = plan?.commandLine.warnings.filter((warning) => !known.includes(warning)) ?? []
  const isStale = failure?.code === 'stale_revision' || form.isStale
  return (
    <section aria-label={t('editor.plan')} className="flex flex-col gap-3">
      <div className="flex items-center justify-between gap-3">
        <h3>{t('editor.plan')}</h3>
        <Button
          size="sm"
          aria-haspopup="dialog"
          disabledReason={plan === null ? t('editor.lineWait') : null}
          onClick={() => setLineOpen(true)}
        >
          {t('editor.line')}
        </Button>
      </div>
      <div aria-live="polite" className="flex flex-col gap-3">
        {!form.isChanged && <p className="text-dim">{t('editor.nothing')}</p>}
        {problems.length > 0 && (
          <div className="rounded-md border border-crashed bg-crashed-tint p-3">
            <h4 className="mb-1 flex items-center gap-1.5 font-medium">
              <MarkIcon mark="crashed" />
              {t('editor.problems')}
            </h4>
            <ul className="flex flex-col gap-1">
              {problems.map((problem) => (
                <li key={`${problem.field} ${problem.message}`}>
                  {problem.field === '' ? (
                    problem.message
                  ) : (
                    <button
                      type="button"
                      className="rounded-sm text-start underline underline-offset-2"
                      onClick={() => focusField(pointerOf(problem.field))}
                    >
                      {nameOf(problem.field)}: {problem.message}
                    </button>
                  )}
                </li>
              ))}
            </ul>
          </div>
        )}
        {isStale ? (
          <Banner
            tone="attention"
            actions={
              <Button size="sm" onClick={form.reload}>
                {t('editor.reload')}
              </Button>
            }
          >
            <p className="font-medium">{t('editor.stale')}</p>
            <p className="text-sm">{t('editor.staleHint')}</p>
          </Banner>
        ) : (
          failure &&
          problems.length === 0 && (
            <div role="alert">
              <Banner tone="error">
                <p className="font-medium">{t('editor.failed')}</p>
                <p>{failure.message}</p>
                <Disclosure summary={failure.code}>
                  <Output label={failure.code}>{describeDetails(failure)}</Output>
                </Disclosure>
              </Banner>
            </div>
          )
        )}
        {form.isIncomplete && <p className="text-dim">{t('editor.incomplete')}</p>}
        {form.isChanged && !form.isIncomplete && !form.isFaulty && plan === null && (
          <div aria-busy="true" className="flex flex-col gap-2">
            <span className="sr-only">{t('editor.checking')}</span>
            <Skeleton className="h-4 w-full" />
            <Skeleton className="h-4 w-2/3" />
          </div>
        )}
        {form.isChanged && !form.isIncomplete && !form.isFaulty && plan !== null && (
          <>
            {isOff && <p className="text-dim">{t('editor.offNote')}</p>}
            {!isOff && fresh.length === 0 && <p className="text-dim">{t('editor.dashboard')}</p>}
            <Changes title={t('editor.atOnce')} changes={atOnce} />
            <Changes title={t('editor.atOnceGuest')} changes={asked} />
            <Changes title={t('editor.atStart')} changes={later} />
            {old.length > 0 && <p className="text-faint text-sm">{t('editor.earlier', { count: old.length })}</p>}
            {warnings.length > 0 && (
              <div className="flex flex-col gap-1">
                <h4 className="font-medium text-dim text-sm">{t('editor.warnings')}</h4>
                <ul className="flex flex-col gap-1.5">
                  {warnings.map((warning) => (
                    <li key={warning} className="flex gap-2 text-dim text-sm">
                      <MarkIcon mark="attention" className="mt-1 size-3" />
                      <span className="min-w-0">{warning}</span>
                    </li>
                  ))}
                </ul>
              </div>
            )}
          </>
        )}
      </div>
      {lineOpen && plan && <PlanLine vm={vm} line={plan.commandLine} onClose={() => setLineOpen(false)} />}
    </section>
  )
}

function Changes({ title, changes }: { readonly title: string; readonly changes: readonly PendingChange[] }) {
  if (changes.length === 0) return null
  return (
    <div className="flex flex-col gap-1">
      <h4 className="font-medium text-dim text-sm">{title}</h4>
      <ul className="flex flex-col gap-1.5">
        {changes.map((change) => (
          <li key={`${change.path} ${JSON.stringify(change.live)}`} className="text-sm">
            <ChangeLine change={change} />
            <span className="block text-faint">{change.reason}</span>
          </li>
        ))}
      </ul>
    </div>
  )
}
