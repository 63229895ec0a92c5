'use client'
import { useQuery } from '@tanstack/react-query'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { Badge } from '#components/ui/badge.tsx'
import { Button } from '#components/ui/button.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Facts } from '#components/ui/page.tsx'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useFieldName } from '#components/vm/fields/field-name.ts'
import { focusField } from '#components/vm/fields/form.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatBytes, formatMiB } from '#lib/i18n/format.ts'
import { create } from '#lib/i18n/messages/en/create.ts'
import { seed as seedMessages } from '#lib/i18n/messages/en/seed.ts'
import type { SeedKind } from '#lib/schema/seed.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { GIB } from '#lib/units.ts'
import { QuotaFit } from './quota-fit.tsx'
import type { CreateForm } from './use-create-form.ts'

const PlanLine = dynamic(() => import('./plan-line.tsx').then((part) => part.PlanLine), { ssr: false })

/** What would be made: in words, what it takes, what to know, and the exact command line on demand. */
export function PlanPanel({ page }: { readonly page: CreateForm }) {
  const t = useT(create)
  const [lineOpen, setLineOpen] = useState(false)
  const nameOf = useFieldName()
  const { plan, problems } = page
  return (
    <div className="flex flex-col gap-4">
      <div className="flex items-center justify-between gap-3">
        <h2 className="text-lg">{t('plan.title')}</h2>
        <Button
          size="sm"
          aria-haspopup="dialog"
          disabledReason={plan === null ? t('submit.wait') : null}
          onClick={() => setLineOpen(true)}
        >
          {t('plan.showLine')}
        </Button>
      </div>
      <div aria-live="polite" className="flex flex-col gap-3 empty:hidden">
        {problems.length > 0 && (
          <div className="rounded-md border border-crashed bg-crashed-tint p-3">
            <h3 className="mb-1 flex items-center gap-1.5">
              <MarkIcon mark="crashed" />
              {t('plan.problems')}
            </h3>
            <ul className="flex flex-col gap-1">
              {problems.map((problem) => (
                <li key={`${problem.field} ${problem.message}`}>
                  {problem.field === '' ? (
                    problem.message
                  ) : (
                    <button
                      type="button"
                      className="rounded-sm text-start underline underline-offset-2"
                      onClick={() => page.showProblem(problem)}
                    >
                      {nameOf(problem.field)}: {problem.message}
                    </button>
                  )}
                </li>
              ))}
            </ul>
          </div>
        )}
        {problems.length > 0 && plan && <p className="text-faint text-sm">{t('plan.stale')}</p>}
      </div>
      <QuotaFit page={page} />
      {plan === null ? (
        problems.length === 0 && (
          <div aria-busy="true" className="flex flex-col gap-2">
            <span className="sr-only">{t('plan.loading')}</span>
            <Skeleton className="h-4 w-full" />
            <Skeleton className="h-4 w-4/5" />
            <Skeleton className="h-20 w-full" />
          </div>
        )
      ) : (
        <div className="flex flex-col gap-4">
          <Summary seed={page.seed?.kind ?? null} spec={plan.spec} bootName={page.boot?.name ?? null} />
          <Takes spec={plan.spec} />
          <div className="flex flex-col gap-1">
            <h3 className="flex flex-wrap items-center gap-2">
              {plan.commandLine.accelerator.actual === null
                ? t('plan.runsOnNone')
                : t('plan.runsOn', { name: plan.commandLine.accelerator.actual.toUpperCase() })}
              <Badge tone={plan.commandLine.accelerator.actual === 'kvm' ? 'running' : 'attention'}>
                {(plan.commandLine.accelerator.actual ?? '–').toUpperCase()}
              </Badge>
            </h3>
            <p className="text-dim text-sm">{plan.commandLine.accelerator.reason}</p>
          </div>
          {plan.commandLine.warnings.length > 0 && (
            <div className="flex flex-col gap-1">
              <h3>{t('plan.warnings')}</h3>
              <ul className="flex flex-col gap-1.5">
                {plan.commandLine.warnings.map((warning) => (
                  <li key={warning} className="flex gap-2 text-dim text-sm">
                    <MarkIcon mark="attention" className="mt-1 size-3" />
                    <span className="min-w-0">{warning}</span>
                  </li>
                ))}
              </ul>
            </div>
          )}
          {lineOpen && (
            <PlanLine
              page={page}
              plan={plan}
              onClose={() => setLineOpen(false)}
              onField={(pointer) => {
                setLineOpen(false)
                // After the dialog has given the focus back.
                setTimeout(() => focusField(pointer), 0)
              }}
            />
          )}
        </div>
      )}
    </div>
  )
}

function Summary({
  spec,
  bootName,
  seed,
}: {
  readonly spec: VmSpec
  readonly bootName: string | null
  readonly seed: SeedKind | null
}) {
  const t = useT(create)
  const words = useT(seedMessages)
  const locale = useLocale()
  const disks = spec.disks.filter((drive) => drive.device === 'disk')
  const totalGiB = disks.reduce((sum, disk) => sum + disk.sizeGiB, 0)
  const forwards = spec.networks.reduce((sum, card) => sum + card.forwards.length, 0)
  const screen = spec.display !== 'none'
  return (
    <div className="flex flex-col gap-1">
      <p>
        {t('plan.summary', {
          guest: spec.guest,
          cpus: spec.cpus,
          memory: formatMiB(spec.memoryMiB, locale),
          firmware: spec.firmware.toUpperCase(),
          boot: bootName ?? t(disks.length > 0 ? 'plan.bootDisk' : 'plan.bootNothing'),
        })}
      </p>
      <p className="text-dim">
        {[
          t('plan.disks', { count: disks.length, size: formatBytes(totalGiB * GIB, locale) }),
          t('plan.networks', { count: spec.networks.length }),
          seed !== null && t('plan.seed', { kind: words(`kind.${seed}`) }),
          forwards > 0 && t('plan.forwards', { count: forwards }),
          t(`plan.console.${screen ? (spec.serial ? 'both' : 'screen') : spec.serial ? 'serial' : 'none'}`),
        ]
          .filter(Boolean)
          .join(' ')}
      </p>
    </div>
  )
}

function Takes({ spec }: { readonly spec: VmSpec }) {
  const t = useT(create)
  const locale = useLocale()
  const capacity = useQuery(queries.hostView()).data?.capacity
  const diskBytes = spec.disks.reduce((sum, drive) => sum + (drive.device === 'disk' ? drive.sizeGiB * GIB : 0), 0)
  if (!capacity) return null
  return (
    <div className="flex flex-col gap-1">
      <h3>{t('plan.takes')}</h3>
      <Facts
        className="figures text-sm"
        facts={[
          { label: t('plan.cpu'), value: t('plan.cpuValue', { mine: spec.cpus, total: String(capacity.cpus.total) }) },
          {
            label: t('plan.memory'),
            value: t('plan.memoryValue', {
              mine: formatMiB(spec.memoryMiB, locale),
              free: formatMiB(capacity.memory.availableMiB, locale),
            }),
          },
          {
            label: t('plan.disk'),
            value:
              diskBytes === 0
                ? t('plan.diskNone')
                : t('plan.diskValue', {
                    mine: formatBytes(diskBytes, locale),
                    free: formatBytes(capacity.disk.freeBytes, locale),
                  }),
          },
        ]}
      />
    </div>
  )
}
