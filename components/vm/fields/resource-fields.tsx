'use client'
import { useQuery } from '@tanstack/react-query'
import { Button } from '#components/ui/button.tsx'
import { NumberField } from '#components/ui/field.tsx'
import { MeterBar } from '#components/ui/meter.tsx'
import { Section } from '#components/ui/page.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { formatMiB, formatNumber } from '#lib/i18n/format.ts'
import { spec } from '#lib/i18n/messages/en/spec.ts'
import { type SpecForm, shownValue } from './form.ts'

const MEMORY_PRESETS_MIB = [512, 1024, 2048, 4096, 8192]

/** CPUs and memory, with what the host has left drawn below each. */
export function ResourceFields({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const locale = useLocale()
  const capacity = useQuery(queries.hostView()).data?.capacity
  const cpus = shownValue(form, 'cpus')
  const memoryMiB = shownValue(form, 'memoryMiB')
  // What others have: this VM's own part is drawn as its own.
  const promisedCpus = Math.max(0, (capacity?.cpus.promised ?? 0) - (form.counted?.cpus ?? 0))
  const promisedMiB = Math.max(0, (capacity?.memory.promisedMiB ?? 0) - (form.counted?.memoryMiB ?? 0))
  const tooManyCpus = capacity !== undefined && cpus !== null && cpus > capacity.cpus.total
  const tooMuchMemory =
    capacity !== undefined &&
    memoryMiB !== null &&
    memoryMiB - (form.counted?.memoryMiB ?? 0) > capacity.memory.availableMiB
  return (
    <Section title={t('cpu.title')}>
      <div className="grid gap-x-6 gap-y-4 sm:grid-cols-2">
        <div id="field-cpus" className="flex min-w-0 flex-col gap-2">
          <NumberField
            label={t('cpu.cpus')}
            hint={t('cpu.cpusHint')}
            min={1}
            max={255}
            step={1}
            value={cpus}
            onValue={(value) => form.setScalar('cpus', value)}
            error={form.errorOf('cpus')}
          />
          {capacity && cpus !== null && (
            <Share
              mine={cpus / capacity.cpus.total}
              promised={promisedCpus / capacity.cpus.total}
              warning={tooManyCpus ? t('cpu.moreCpus') : null}
              text={t('cpu.cpuShare', {
                mine: formatNumber(cpus, locale),
                total: capacity.cpus.total,
                promised: formatNumber(promisedCpus, locale),
              })}
            />
          )}
        </div>
        <div id="field-memoryMiB" className="flex min-w-0 flex-col gap-2">
          <NumberField
            label={t('cpu.memory')}
            hint={t('cpu.memoryHint')}
            unit="MiB"
            min={16}
            step={1}
            value={memoryMiB}
            onValue={(value) => form.setScalar('memoryMiB', value)}
            error={form.errorOf('memoryMiB')}
          />
          {/* biome-ignore lint/a11y/useSemanticElements: a fieldset would draw the buttons as one form control */}
          <div role="group" aria-label={t('cpu.presets')} className="-mx-1 flex flex-wrap">
            {MEMORY_PRESETS_MIB.map((preset) => (
              <Button
                key={preset}
                size="sm"
                variant="quiet"
                aria-pressed={memoryMiB === preset}
                className="aria-pressed:bg-selected aria-pressed:text-ink"
                onClick={() => form.setScalar('memoryMiB', preset)}
              >
                {formatMiB(preset, locale)}
              </Button>
            ))}
          </div>
          {capacity && memoryMiB !== null && (
            <Share
              mine={memoryMiB / capacity.memory.totalMiB}
              promised={promisedMiB / capacity.memory.totalMiB}
              warning={tooMuchMemory ? t('cpu.moreMemory') : null}
              text={t('cpu.memoryShare', {
                mine: formatMiB(memoryMiB, locale),
                total: formatMiB(capacity.memory.totalMiB, locale),
                promised: formatMiB(promisedMiB, locale),
                free: formatMiB(capacity.memory.availableMiB, locale),
              })}
            />
          )}
        </div>
      </div>
    </Section>
  )
}

/** What is promised to others, then this VM's part. */
export function Share({
  mine,
  promised,
  text,
  warning,
}: {
  readonly mine: number
  readonly promised: number
  readonly text: string
  readonly warning: string | null
}) {
  return (
    <div className="flex flex-col gap-1">
      <MeterBar
        label={text}
        parts={[
          { label: 'others', share: promised, tone: 'promised' },
          { label: 'mine', share: mine, tone: warning === null ? 'used' : 'attention' },
        ]}
      />
      <p className="figures text-faint text-sm">{text}</p>
      {warning && <p className="text-attention text-sm">{warning}</p>}
    </div>
  )
}
