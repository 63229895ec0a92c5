'use client'
import { useT } from '#lib/client/i18n.tsx'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { ChoiceField, SwitchField, useMissing } from '../choice-field.tsx'
import { type SpecForm, shownValue } from '../form.ts'
import { Columns, NumberInput, PartField } from '../plain-fields.tsx'
import { RowEditor } from '../row-editor.tsx'
import { vmScope } from '../scope.ts'
import { useWords } from '../use-words.ts'

/** Room for more memory, and what fills it while the guest runs. */
export function GrowingPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('virtioMem')
  const missing = useMissing()
  const scope = vmScope(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <Columns>
        <NumberInput
          scope={scope}
          name="memoryMaxMiB"
          label={t('field.memoryMax')}
          hint={t('field.memoryMaxHint')}
          unit="MiB"
          min={16}
        />
      </Columns>
      <PartField
        scope={scope}
        name="virtioMem"
        label={words.name}
        hint={[words.what, words.choices?.on?.needs].join(' ')}
        initial={{ sizeMiB: 2048, requestedMiB: 0 }}
        disabledReason={missing('virtioMem', 'on')}
      >
        {(part) => (
          <Columns>
            <NumberInput scope={part} name="sizeMiB" label={t('field.virtioMemSize')} unit="MiB" min={128} />
            <NumberInput scope={part} name="requestedMiB" label={t('field.virtioMemRequested')} unit="MiB" min={0} />
          </Columns>
        )}
      </PartField>
      <RowEditor form={form} list="dimms" />
    </div>
  )
}

/** Where the memory comes from, and how the guest gives it back. */
export function MemoryPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const scope = vmScope(form)
  const balloon = shownValue(form, 'balloon') === true
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField scope={scope} name="hugePages" family="hugePages" />
      <SwitchField scope={scope} name="balloon" family="balloon" />
      <Columns>
        <NumberInput
          scope={scope}
          name="balloonTargetMiB"
          label={t('field.balloonTarget')}
          hint={t('field.balloonTargetHint')}
          unit="MiB"
          min={16}
          disabledReason={balloon ? null : t('wantsBalloon')}
        />
      </Columns>
      <SwitchField
        scope={scope}
        name="freePageReporting"
        family="freePageReporting"
        refuse={balloon ? null : t('wantsBalloon')}
      />
    </div>
  )
}
