'use client'
import { useQueryClient } from '@tanstack/react-query'
import { Minus, Plus } from 'lucide-react'
import { useEffect, useId, useRef, useState } from 'react'
import { IconButton } from '#components/ui/button.tsx'
import { Section } from '#components/ui/page.tsx'
import { Spinner } from '#components/ui/spinner.tsx'
import type { SpecPatch } from '#components/vm/spec-draft.ts'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { putVm, useOperation } from '#lib/client/mutations.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { Vm, VmLive } from '#lib/schema/vm-state.ts'

/** A slider or a number that rests this long is meant. */
const REST_MS = 500
const STEP_MIB = 128

/** What a running guest is given more or less of, at once: CPUs, memory by virtio-mem, memory by the balloon. */
export function LiveControls({
  vm,
  live,
  mayNot,
}: {
  readonly vm: Vm
  readonly live: VmLive
  readonly mayNot: string | null
}) {
  const t = useT(devicesPage)
  const locale = useLocale()
  const { spec } = vm
  const size = (mib: number) => formatMiB(mib, locale)
  const { virtioMem } = spec
  const reported = live.guestMemory?.totalMiB
  const target = spec.balloonTargetMiB ?? spec.memoryMiB
  return (
    <Section title={t('live.title')}>
      <div className="grid gap-x-8 gap-y-5 sm:grid-cols-2 xl:grid-cols-3">
        <Control
          vm={vm}
          kind="number"
          label={t('live.cpus')}
          field="cpus"
          stored={spec.cpus}
          min={1}
          max={spec.maxCpus}
          step={1}
          patch={(cpus) => ({ cpus })}
          hint={() => t('live.cpusHint', { now: live.vcpus, max: spec.maxCpus })}
          reason={mayNot ?? (spec.maxCpus === 1 ? t('live.cpusFixed') : null)}
        />
        {virtioMem && (
          <Control
            vm={vm}
            kind="slider"
            label={t('live.virtioMem')}
            field="virtioMem"
            stored={virtioMem.requestedMiB}
            min={0}
            max={virtioMem.sizeMiB}
            step={STEP_MIB}
            patch={(requestedMiB) => ({ virtioMem: { ...virtioMem, requestedMiB } })}
            hint={(asked) =>
              t('live.virtioMemHint', {
                asked: size(asked),
                size: size(virtioMem.sizeMiB),
                total: size(live.memoryMiB),
              })
            }
            reason={mayNot}
          />
        )}
        {spec.balloon && (
          <Control
            vm={vm}
            kind="slider"
            label={t('live.balloon')}
            field="balloonTargetMiB"
            stored={target}
            min={Math.min(16, spec.memoryMiB)}
            max={spec.memoryMiB}
            step={spec.memoryMiB > 1024 ? 16 : 1}
            patch={(mib) => ({ balloonTargetMiB: mib >= spec.memoryMiB ? null : mib })}
            hint={(asked) =>
              reported === undefined
                ? t('live.balloonHint', { target: size(asked), total: size(spec.memoryMiB) })
                : t('live.balloonReports', {
                    target: size(asked),
                    total: size(spec.memoryMiB),
                    reported: size(reported),
                  })
            }
            reason={mayNot}
          />
        )}
      </div>
    </Section>
  )
}

/** One amount. What rests for a moment is sent; the answer, or why not, stands below it. */
function Control({
  vm,
  kind,
  label,
  field,
  stored,
  min,
  max,
  step,
  patch,
  hint,
  reason,
}: {
  readonly vm: Vm
  readonly kind: 'number' | 'slider'
  readonly label: string
  readonly field: string
  readonly stored: number
  readonly min: number
  readonly max: number
  readonly step: number
  readonly patch: (value: number) => SpecPatch
  readonly hint: (value: number) => string
  readonly reason: string | null
}) {
  const t = useT(devicesPage)
  const client = useQueryClient()
  const id = useId()
  /** What was entered and is not stored yet; null: nothing. */
  const [entered, setEntered] = useState<number | null>(null)
  const update = useOperation('vmUpdate', { onSuccess: (saved) => putVm(client, saved) })
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  const waiting = vm.pending.find(({ path }) => path === `/${field}`)
  const value = entered ?? stored
  const isWrong = !Number.isInteger(value) || value < min || value > max

  const send = (wanted: number) => {
    clearTimeout(timer.current)
    if (!Number.isInteger(wanted) || wanted < min || wanted > max) return
    // One at a time: the answer to the one before brings the revision that this one needs.
    if (update.isPending) {
      timer.current = setTimeout(() => latest.current(wanted), REST_MS)
      return
    }
    if (wanted === stored) {
      setEntered(null)
      return
    }
    update.mutate(
      { input: { params: { id: vm.id }, body: patch(wanted) }, ifMatch: vm.revision },
      // A refused value gives way to what is true; the reason stays.
      { onSettled: () => setEntered((now) => (now === wanted ? null : now)) },
    )
  }
  const latest = useRef(send)
  latest.current = send
  const enter = (wanted: number) => {
    if (reason !== null) return
    setEntered(wanted)
    if (!update.isPending) update.reset()
    clearTimeout(timer.current)
    // Through the ref: by then the VM may have another revision.
    timer.current = setTimeout(() => latest.current(wanted), REST_MS)
  }
  const now = () => {
    if (entered !== null && !update.isPending) send(entered)
  }
  const note = update.error
    ? update.error.message
    : waiting
      ? t(waiting.waiting === 'guest' ? 'live.waitsGuest' : 'live.waitsRestart', { reason: waiting.reason })
      : null
  const shared = {
    id,
    min,
    max,
    step,
    'aria-describedby': `${id}-note`,
    'aria-disabled': reason !== null || undefined,
    readOnly: reason !== null,
    onBlur: now,
  }
  return (
    <div id={`live-${field}`} className="flex min-w-0 flex-col gap-1.5">
      <label htmlFor={id} className="font-medium text-dim text-sm">
        {label}
      </label>
      {kind === 'number' ? (
        <span className="flex items-center gap-1">
          <IconButton
            variant="plain"
            label={t('live.cpusLess')}
            disabledReason={reason ?? (value <= min ? t('live.least') : null)}
            onClick={() => enter(value - step)}
          >
            <Minus size={14} aria-hidden="true" />
          </IconButton>
          <input
            {...shared}
            type="number"
            inputMode="numeric"
            value={Number.isNaN(value) ? '' : value}
            aria-invalid={isWrong || undefined}
            onChange={(event) => enter(event.target.valueAsNumber)}
            onKeyDown={(event) => event.key === 'Enter' && now()}
            className="figures touch h-8 w-20 rounded-md border border-edge bg-surface px-2.5 text-center text-base text-ink aria-invalid:border-crashed aria-disabled:opacity-60"
          />
          <IconButton
            variant="plain"
            label={t('live.cpusMore')}
            disabledReason={reason ?? (value >= max ? t('live.most') : null)}
            onClick={() => enter(value + step)}
          >
            <Plus size={14} aria-hidden="true" />
          </IconButton>
        </span>
      ) : (
        <input
          {...shared}
          type="range"
          value={value}
          aria-valuetext={hint(value)}
          onChange={(event) => enter(event.target.valueAsNumber)}
          onPointerUp={now}
          className="touch h-8 w-full accent-accent-fill aria-disabled:opacity-60"
        />
      )}
      <p id={`${id}-note`} className="figures text-faint text-sm">
        {reason ?? hint(value)}
      </p>
      <p aria-live="polite" className="flex items-start gap-1.5 text-sm empty:hidden">
        {update.isPending ? (
          <>
            <Spinner /> <span className="text-dim">{t('live.setting')}</span>
          </>
        ) : (
          note && <span className={update.error ? 'text-crashed' : 'text-attention'}>{note}</span>
        )}
      </p>
    </div>
  )
}
