'use client'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { fieldId } from '../choice-field.tsx'
import { type SpecForm, shownValue } from '../form.ts'
import { Columns, FlagInput, NumberInput } from '../plain-fields.tsx'
import { vmScope } from '../scope.ts'

const STEPS = { low: 25, normal: 100, high: 400 } as const

/** What the host gives this guest when others want the same, and where it stops. */
export function SharePart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const scope = vmScope(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <Columns>
        <Weight form={form} name="cpuWeight" label={t('field.cpuWeight')} hint={t('field.cpuWeightHint')} />
        <NumberInput
          scope={scope}
          name="cpuLimit"
          label={t('field.cpuLimit')}
          hint={t('field.cpuLimitHint')}
          placeholder={t('unlimited')}
          unit="CPU"
          min={0.05}
          step={0.05}
        />
        <Weight form={form} name="ioWeight" label={t('field.ioWeight')} hint={t('field.ioWeightHint')} />
      </Columns>
      <FlagInput scope={scope} name="memoryCap" label={t('field.memoryCap')} hint={t('field.memoryCapHint')} />
    </div>
  )
}

/** Three steps for people; any other number that the API has set stays as it is. */
function Weight({
  form,
  name,
  label,
  hint,
}: {
  readonly form: SpecForm
  readonly name: 'cpuWeight' | 'ioWeight'
  readonly label: string
  readonly hint: string
}) {
  const t = useT(deviceForms)
  const value = shownValue(form, name) ?? STEPS.normal
  const steps = Object.entries(STEPS) as [keyof typeof STEPS, number][]
  const isStep = steps.some(([, weight]) => weight === value)
  return (
    <div id={fieldId(vmScope(form), name)} tabIndex={-1} className="min-w-0">
      <Select
        label={label}
        hint={hint}
        value={String(value)}
        onChange={(event) => form.setScalar(name, Number(event.target.value))}
        error={form.errorOf(name)}
        options={[
          ...steps.map(([step, weight]) => ({ value: String(weight), label: t(`weight.${step}`) })),
          ...(isStep ? [] : [{ value: String(value), label: t('weight.custom', { weight: String(value) }) }]),
        ]}
      />
    </div>
  )
}
