'use client'
import { useT } from '#lib/client/i18n.tsx'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { ChoiceField, SwitchField } from '../choice-field.tsx'
import { FamilyField } from '../family-field.tsx'
import { type SpecForm, shownValue } from '../form.ts'
import { Columns, NumberInput, PartField } from '../plain-fields.tsx'
import { RowEditor } from '../row-editor.tsx'
import { boardOf, vmScope } from '../scope.ts'
import { useWords } from '../use-words.ts'

export function DisplayPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('displayResolution')
  const scope = vmScope(form)
  const display = shownValue(form, 'display')
  const hasHeads = display === 'virtio-vga' || display === 'virtio-gpu' || display === 'qxl'
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField
        scope={scope}
        name="display"
        family="display"
        refuse={(choice) => (boardOf(form) === 'microvm' && choice !== 'none' ? t('wantsBoard.pci') : null)}
      />
      <Columns>
        <FamilyField
          scope={scope}
          name="displayHeads"
          family="displayHeads"
          number={{ min: 1, max: 16 }}
          disabledReason={hasHeads ? null : t('wantsHeads')}
        />
        <FamilyField
          scope={scope}
          name="displayMemoryMiB"
          family="displayMemory"
          number={{ min: 1, max: 512, unit: 'MiB' }}
        />
      </Columns>
      <PartField
        scope={scope}
        name="displayResolution"
        label={t('field.displayResolution')}
        hint={words.what}
        initial={{ width: 1280, height: 800 }}
      >
        {(part) => (
          <Columns>
            <NumberInput scope={part} name="width" label={t('field.width')} unit="px" min={320} max={8192} />
            <NumberInput scope={part} name="height" label={t('field.height')} unit="px" min={200} max={8192} />
          </Columns>
        )}
      </PartField>
    </div>
  )
}

export function InputPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const scope = vmScope(form)
  const hasPci = boardOf(form) !== 'microvm'
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <SwitchField scope={scope} name="usbInput" family="usbInput" />
      <RowEditor form={form} list="inputs" />
      <SwitchField scope={scope} name="ps2" family="ps2" />
      <ChoiceField
        scope={scope}
        name="usbController"
        family="usbController"
        refuse={(choice) => (hasPci || choice === 'none' ? null : t('wantsBoard.pci'))}
      />
      <Columns>
        <FamilyField scope={scope} name="usbPorts" family="usbPorts" number={{ min: 4, max: 15 }} />
      </Columns>
    </div>
  )
}

export function SoundPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const scope = vmScope(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField
        scope={scope}
        name="sound"
        family="sound"
        refuse={(choice) => (boardOf(form) === 'microvm' && choice !== 'none' ? t('wantsBoard.pci') : null)}
      />
      <SwitchField scope={scope} name="clipboard" family="clipboard" />
    </div>
  )
}
