'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Check } from 'lucide-react'
import { useState } from 'react'
import { ButtonLink, Link } from '#components/nav/link.tsx'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { cx } from '#components/ui/cx.ts'
import { Select } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { toastError } from '#lib/client/toasts.ts'
import { virtioAssistant as messages } from '#lib/i18n/messages/en/virtio-assistant.ts'
import { paths } from '#lib/paths.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { type Direction, type MovePlan, type MoveStep, planMove } from '#lib/vm/virtio-assistant.ts'

type T = ReturnType<typeof useT<typeof messages.messages>>

/** By its volume label or its name, as its makers call it: `virtio-win-0.1.271.iso`. */
const isDriverCd = (image: Image): boolean =>
  image.kind === 'iso' && image.present && /virtio-?win/i.test(`${image.label ?? ''} ${image.name}`)

/** Moves a guest to virtio, or back, one step at a time; where it stands is read from its definition. */
export function VirtioAssistant({ vm }: { readonly vm: Vm }) {
  const t = useT(messages)
  const [direction, setDirection] = useState<Direction>('to-virtio')
  const images = useQuery(queries.imageList()).data?.items ?? []
  const driverCd = images.find(isDriverCd) ?? null
  const plan = planMove(vm.spec, { direction, virtioDriverImage: driverCd?.id ?? null })
  return (
    <Section
      title={t('title')}
      actions={
        <Select
          label={t('direction')}
          hideLabel
          value={direction}
          options={[
            { value: 'to-virtio', label: t('toVirtio') },
            { value: 'to-emulated', label: t('toEmulated') },
          ]}
          onChange={(event) => setDirection(event.target.value === 'to-emulated' ? 'to-emulated' : 'to-virtio')}
        />
      }
    >
      {plan.impossible !== null ? (
        <p className="text-dim">{t('microvm')}</p>
      ) : plan.complete ? (
        <p className="text-dim">{t(`complete.${direction}`)}</p>
      ) : (
        <>
          <p className="max-w-prose text-dim">{t(`intro.${direction}`)}</p>
          {/* Another direction is another walk: what was confirmed in one says nothing in the other. */}
          <Steps key={direction} vm={vm} plan={plan} />
        </>
      )}
    </Section>
  )
}

function Steps({ vm, plan }: { readonly vm: Vm; readonly plan: MovePlan }) {
  const t = useT(messages)
  const client = useQueryClient()
  const update = useOperation('vmUpdate')
  const [checked, setChecked] = useState(false)
  // Seen in the list at once; said for those who do not see it.
  const [done, setDone] = useState('')
  const send = async (step: MoveStep) => {
    if (step.patch === null) return
    putVm(
      client,
      await update.mutateAsync({ input: { params: { id: vm.id }, body: step.patch }, ifMatch: vm.revision }),
    )
    setChecked(false)
    setDone(t('applied', { step: titleOf(t, step) }))
  }
  const apply = (step: MoveStep) => {
    if (step.id === 'cleanup') askToRemove(t, vm, step, () => send(step))
    else void send(step).catch((error: unknown) => toastError(error, t('failed', { step: titleOf(t, step) })))
  }
  return (
    <>
      <p role="status" className="sr-only">
        {done}
      </p>
      <ol className="flex flex-col">
        {plan.steps.map((step, index) => (
          <li
            key={step.id}
            aria-current={step.state === 'next' ? 'step' : undefined}
            className="grid grid-cols-[1.5rem_minmax(0,1fr)] gap-x-3 border-line border-b py-3 first:pt-1 last:border-b-0"
          >
            <StepMark step={step} number={index + 1} />
            <div className="flex min-w-0 flex-col gap-1.5">
              <h3 className="flex flex-wrap items-baseline gap-x-2">
                <span className={cx('min-w-0 break-words', step.state === 'later' && 'text-dim')}>
                  {titleOf(t, step)}
                </span>
                <span className="ms-auto font-normal text-faint text-sm">{t(`state.${step.state}`)}</span>
              </h3>
              {step.state !== 'done' && (
                <OpenStep
                  vm={vm}
                  plan={plan}
                  step={step}
                  checked={checked}
                  onChecked={setChecked}
                  pending={update.isPending}
                  onApply={() => apply(step)}
                />
              )}
              {step.state === 'done' && <InGuest vm={vm} step={step} />}
            </div>
          </li>
        ))}
      </ol>
    </>
  )
}

interface OpenStepProps {
  readonly vm: Vm
  readonly plan: MovePlan
  readonly step: MoveStep
  readonly checked: boolean
  readonly onChecked: (checked: boolean) => void
  readonly pending: boolean
  readonly onApply: () => void
}

function OpenStep({ vm, plan, step, checked, onChecked, pending, onApply }: OpenStepProps) {
  const t = useT(messages)
  const texts = wordsOf(t, step)
  const reason = reasonToWait(t, vm, step, checked)
  return (
    <>
      <p className="max-w-prose text-dim">{t(`step.${step.id}.what`, texts)}</p>
      {step.dropsProperties.length > 0 && (
        <p className="text-attention">{t('dropsProperties', { devices: step.dropsProperties.join(', ') })}</p>
      )}
      {step.id === 'drivers' && step.patch === null ? (
        <NoDriverCd />
      ) : (
        <>
          {step.needsCheck && step.state === 'next' && (
            <Checkbox
              label={t(`checked.${plan.direction}`, {
                id: plan.steps.find(({ id }) => id === 'probe')?.devices[0] ?? '',
                target: targetOf(t, step),
              })}
              hint={plan.direction === 'to-emulated' ? t('checkedHint') : undefined}
              checked={checked}
              onChange={(event) => onChecked(event.target.checked)}
            />
          )}
          <p className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <Button
              variant={step.state === 'next' ? 'primary' : 'plain'}
              size="sm"
              aria-label={t('applyNamed', { step: titleOf(t, step) })}
              pending={pending && step.state === 'next'}
              disabledReason={reason}
              onClick={onApply}
            >
              {t('apply')}
            </Button>
            <span className="text-faint text-sm">{reason ?? t(step.needsOff ? 'needsOff' : 'mayRun')}</span>
          </p>
        </>
      )}
      {step.state === 'next' && <InGuest vm={vm} step={step} />}
    </>
  )
}

/** What can be seen in the guest once the step is made, and the way there. */
function InGuest({ vm, step }: { readonly vm: Vm; readonly step: MoveStep }) {
  const t = useT(messages)
  const hasConsole = vm.actions.console?.allowed === true
  return (
    <div className="flex max-w-prose flex-col items-start gap-1 text-sm">
      <p className="text-dim">
        <span className="font-medium text-ink">{t('inGuest')}: </span>
        {step.id === 'drivers' || step.id === 'cleanup'
          ? t(`step.${step.id}.check`)
          : t(`step.${step.id}.check.${vm.spec.guest}`)}
      </p>
      {hasConsole && step.state === 'done' && step.id !== 'cleanup' && (
        <ButtonLink size="sm" variant="quiet" className="-ms-2" href={paths.vmConsole(vm.id)}>
          {t('openConsole')}
        </ButtonLink>
      )}
    </div>
  )
}

/** Where the drivers can be had when the library has none. */
function NoDriverCd() {
  const t = useT(messages)
  const { data } = useQuery(queries.capabilities())
  const offer = data?.offers.virtioWin
  return (
    <p className="max-w-prose">
      {t('noDriverCd')}
      {offer?.available === true && ` ${t('driverCdOnHost')}`} <Link href={paths.images()}>{t('images')}</Link>
    </p>
  )
}

function StepMark({ step, number }: { readonly step: MoveStep; readonly number: number }) {
  return (
    <span
      aria-hidden="true"
      className={cx(
        'figures flex size-6 items-center justify-center rounded-full border text-sm',
        step.state === 'done' && 'border-running text-running',
        step.state === 'next' && 'border-transparent bg-accent-fill text-on-accent',
        step.state === 'later' && 'border-line text-faint',
      )}
    >
      {step.state === 'done' ? <Check size={14} /> : number}
    </span>
  )
}

/** Targets that people call otherwise than QEMU does. */
const NAMED = Object.keys(messages.messages.target) as (keyof typeof messages.messages.target)[]
const targetOf = (t: T, { target }: MoveStep): string => {
  const named = NAMED.find((name) => name === target)
  return named === undefined ? (target ?? '') : t(`target.${named}`)
}
const wordsOf = (t: T, step: MoveStep) => ({ devices: step.devices.join(', '), target: targetOf(t, step) })
const titleOf = (t: T, step: MoveStep): string => t(`step.${step.id}.title`, wordsOf(t, step))

/** Why the step cannot be made now; null when it can. */
function reasonToWait(t: T, vm: Vm, step: MoveStep, checked: boolean): string | null {
  const isOff = vm.state === 'off' || vm.state === 'crashed'
  if (!vm.actions.change?.allowed) return vm.actions.change?.reason ?? null
  if (step.state === 'later') return t('waitsForStep')
  if (step.needsOff && !isOff) return t('waitsForOff')
  if (vm.pending.length > 0) return t('waitsForChanges')
  return step.needsCheck && !checked ? t('waitsForCheck') : null
}

function askToRemove(t: T, vm: Vm, step: MoveStep, run: () => Promise<unknown>): void {
  const removed = vm.spec.disks.filter(
    (drive) => step.devices.includes(drive.id) && !step.patch?.disks?.some((kept) => kept.id === drive.id),
  )
  askToConfirm({
    title: t('confirmTitle', { name: vm.name }),
    goes: removed.map(({ id, device }) => t(device === 'disk' ? 'confirmGoes' : 'confirmDrive', { id })),
    stays: [t('confirmStays')],
    confirmLabel: t('confirm'),
    danger: true,
    run,
  })
}
