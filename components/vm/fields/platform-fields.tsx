'use client'
import { useQuery } from '@tanstack/react-query'
import { Checkbox, RadioCards } from '#components/ui/choice.tsx'
import { TextArea, TextField } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { spec } from '#lib/i18n/messages/en/spec.ts'
import type { VmAccelerator } from '#lib/schema/vm-state.ts'
import { type SpecForm, shownValue } from './form.ts'
import { Group } from './group.tsx'
import { PARTS } from './parts.tsx'

interface Props {
  readonly form: SpecForm
  /** What the accelerator choice leads to now; null while unknown. */
  readonly accelerator: VmAccelerator | null
}

/** Everything that most guests need not touch: closed, each with what it is set to. */
export function PlatformFields({ form, accelerator }: Props) {
  const t = useT(spec)
  const words = useT(deviceForms)
  return (
    <Section title={t('more.title')}>
      <div className="flex flex-col divide-y divide-line">
        {PARTS.map((part) => (
          <Group
            key={part.id}
            form={form}
            title={words(`part.${part.id}`)}
            summary={part.summary(form) || t('more.none')}
            fields={part.fields}
          >
            <part.Form form={form} />
          </Group>
        ))}
        <AcceleratorField form={form} accelerator={accelerator} />
        <NotesField form={form} />
      </div>
    </Section>
  )
}

function AcceleratorField({ form, accelerator }: Props) {
  const t = useT(spec)
  const verdict = useQuery(queries.hostView()).data?.accelerator
  const value = shownValue(form, 'accelerator')
  const now = (accelerator?.actual ?? verdict?.auto ?? '–').toUpperCase()
  return (
    <Group
      form={form}
      title={t('accelerator.title')}
      summary={value ? `${t(`accelerator.${value}`)} (${now})` : ''}
      fields={['accelerator']}
    >
      <div id="field-accelerator" tabIndex={-1}>
        <RadioCards
          legend={t('accelerator.title')}
          hideLegend
          name="accelerator"
          value={value}
          onValue={(next) => form.setScalar('accelerator', next)}
          columns="grid-cols-1"
          error={form.errorOf('accelerator')}
          options={[
            {
              value: 'auto',
              label: t('accelerator.auto'),
              description: t('accelerator.auto-hint', { now: (verdict?.auto ?? '–').toUpperCase() }),
            },
            {
              value: 'kvm',
              label: t('accelerator.kvm'),
              description: t('accelerator.kvm-hint'),
              disabledReason: verdict && verdict.kvm !== 'usable' ? verdict.summary : null,
            },
            { value: 'tcg', label: t('accelerator.tcg'), description: t('accelerator.tcg-hint') },
          ]}
        />
      </div>
    </Group>
  )
}

/** `usb tablet, serial` or `none`. */
const summaryOf = (parts: readonly (string | false)[], none: string) => parts.filter(Boolean).join(', ') || none

function NotesField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const description = shownValue(form, 'description') ?? ''
  const tags = shownValue(form, 'tags') ?? []
  const tagError = form.errorOf('tags') ?? form.errorOf('tags.0')
  return (
    <Group
      form={form}
      title={t('notes.title')}
      summary={summaryOf([...tags, description !== '' && description.slice(0, 40)], t('more.none'))}
      fields={['description', 'tags', 'autostart']}
    >
      <div id="field-autostart" tabIndex={-1}>
        <Checkbox
          label={t('clock.autostart')}
          hint={t('clock.autostartHint')}
          checked={shownValue(form, 'autostart') ?? false}
          onChange={(event) => form.setScalar('autostart', event.target.checked)}
        />
      </div>
      <div id="field-description" tabIndex={-1}>
        <TextArea
          label={t('notes.description')}
          maxLength={4096}
          value={description}
          onChange={(event) => form.setScalar('description', event.target.value)}
          error={form.errorOf('description')}
        />
      </div>
      <div id="field-tags" tabIndex={-1}>
        <TextField
          label={t('notes.tags')}
          hint={t('notes.tagsHint')}
          // Words are split when the field is left: while typing, a trailing space is part of the text.
          defaultValue={tags.join(' ')}
          key={tags.join(' ')}
          onBlur={(event) => {
            const next = [...new Set(event.target.value.split(/\s+/).filter(Boolean))]
            if (next.join(' ') !== tags.join(' ')) form.setScalar('tags', next)
          }}
          error={tagError}
        />
      </div>
    </Group>
  )
}
