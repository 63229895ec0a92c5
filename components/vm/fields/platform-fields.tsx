'use client'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox, RadioCards } from '#components/ui/choice.tsx'
import { Disclosure } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextArea, TextField } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { spec } from '#lib/i18n/messages/en/spec.ts'
import type { VmAccelerator } from '#lib/schema/vm-state.ts'
import type { ScalarDraft } from '../spec-draft.ts'
import { type SpecForm, shownValue } from './form.ts'

const QEMU_DEVICE = { 'virtio-vga': 'virtio-vga', std: 'VGA' } as const

interface Props {
  readonly form: SpecForm
  /** What the accelerator choice leads to now; null while unknown. */
  readonly accelerator: VmAccelerator | null
}

/** Everything that most guests need not touch: closed, each with what it is set to. */
export function PlatformFields({ form, accelerator }: Props) {
  const t = useT(spec)
  return (
    <Section title={t('more.title')}>
      <div className="flex flex-col divide-y divide-line">
        <DisplayField form={form} />
        <FirmwareField form={form} />
        <AcceleratorField form={form} accelerator={accelerator} />
        <CpuModelField form={form} />
        <ConsoleField form={form} />
        <HelperFields form={form} />
        <PortsField form={form} />
        <ClockField form={form} />
        <MachineField form={form} />
        <NotesField form={form} />
      </div>
    </Section>
  )
}

/** One closed group: its name and, in a few words, its value. Opens by itself when something in it is wrong. */
function Group({
  form,
  title,
  summary,
  fields,
  children,
}: {
  readonly form: SpecForm
  readonly title: string
  readonly summary: string
  readonly fields: readonly (keyof ScalarDraft)[]
  readonly children: ReactNode
}) {
  const t = useT(spec)
  const touched = form.mode === 'create' && fields.some((field) => form.draft.scalars[field] !== undefined)
  const broken = fields.some((field) => form.errorOf(field) !== undefined)
  return (
    <div className="py-2.5">
      <Disclosure
        {...(broken ? { open: true } : {})}
        summary={
          <span className="flex min-w-0 flex-wrap gap-x-2">
            <span className="font-medium text-ink">{title}</span>
            <span className="text-faint">{summary}</span>
          </span>
        }
      >
        <div className="flex flex-col gap-3 ps-5 pb-1">
          {children}
          {touched && (
            <div>
              <Button
                size="sm"
                variant="quiet"
                onClick={() => {
                  for (const field of fields) form.setScalar(field, undefined)
                }}
              >
                {t('more.useDefault')}
              </Button>
            </div>
          )}
        </div>
      </Disclosure>
    </div>
  )
}

function DisplayField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const devices = useQuery(queries.capabilities()).data?.devices
  const value = shownValue(form, 'display')
  const missing = (display: 'virtio-vga' | 'std') =>
    devices !== undefined && !devices.includes(QEMU_DEVICE[display]) ? t('display.missing') : null
  return (
    <Group form={form} title={t('display.title')} summary={value ? t(`display.${value}`) : ''} fields={['display']}>
      <div id="field-display" tabIndex={-1}>
        <RadioCards
          legend={t('display.title')}
          hideLegend
          name="display"
          value={value}
          onValue={(next) => form.setScalar('display', next)}
          columns="grid-cols-1"
          error={form.errorOf('display')}
          options={[
            {
              value: 'virtio-vga',
              label: t('display.virtio-vga'),
              description: t('display.virtio-vga-hint'),
              disabledReason: missing('virtio-vga'),
            },
            {
              value: 'std',
              label: t('display.std'),
              description: t('display.std-hint'),
              disabledReason: missing('std'),
            },
            { value: 'none', label: t('display.none'), description: t('display.none-hint') },
          ]}
        />
      </div>
    </Group>
  )
}

function FirmwareField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const firmware = useQuery(queries.capabilities()).data?.firmware
  const value = shownValue(form, 'firmware')
  return (
    <Group form={form} title={t('firmware.title')} summary={value ? t(`firmware.${value}`) : ''} fields={['firmware']}>
      <div id="field-firmware" tabIndex={-1}>
        <RadioCards
          legend={t('firmware.title')}
          hideLegend
          name="firmware"
          value={value}
          onValue={(next) => form.setScalar('firmware', next)}
          error={form.errorOf('firmware')}
          options={[
            { value: 'bios', label: t('firmware.bios'), description: t('firmware.bios-hint') },
            {
              value: 'uefi',
              label: t('firmware.uefi'),
              description: t('firmware.uefi-hint'),
              disabledReason: firmware?.uefi === false ? t('firmware.missing') : null,
            },
          ]}
        />
      </div>
    </Group>
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

function CpuModelField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const models = useQuery(queries.capabilities()).data?.cpuModels ?? []
  const value = shownValue(form, 'cpuModel')
  const listed = models.map((model) => ({
    value: model.name,
    label: model.deprecated
      ? t('cpuModel.deprecated', { name: model.name })
      : model.missing.length > 0
        ? t('cpuModel.missing', { name: model.name, count: model.missing.length })
        : model.name,
  }))
  const known = value === null || value === 'auto' || listed.some((model) => model.value === value)
  return (
    <Group
      form={form}
      title={t('cpuModel.title')}
      summary={value === 'auto' ? t('cpuModel.auto') : (value ?? '')}
      fields={['cpuModel']}
    >
      <div id="field-cpuModel" tabIndex={-1}>
        <Select
          label={t('cpuModel.label')}
          hint={t('cpuModel.hint')}
          value={value ?? 'auto'}
          onChange={(event) => form.setScalar('cpuModel', event.target.value)}
          error={form.errorOf('cpuModel')}
          options={[
            { value: 'auto', label: t('cpuModel.auto') },
            ...(known || value === null ? [] : [{ value, label: value }]),
            ...listed,
          ]}
        />
      </div>
    </Group>
  )
}

function Toggle({
  form,
  field,
}: {
  readonly form: SpecForm
  readonly field: 'usbInput' | 'serial' | 'rng' | 'balloon' | 'agentChannel'
}) {
  const t = useT(spec)
  const [label, hint] =
    field === 'usbInput' || field === 'serial'
      ? [t(`console.${field}`), t(`console.${field}Hint`)]
      : [t(`helpers.${field}`), t(`helpers.${field}Hint`)]
  const error = form.errorOf(field)
  return (
    <div id={`field-${field}`} tabIndex={-1}>
      <Checkbox
        label={label}
        hint={hint}
        checked={shownValue(form, field) ?? false}
        onChange={(event) => form.setScalar(field, event.target.checked)}
      />
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
    </div>
  )
}

/** `usb tablet, serial` or `none`. */
const summaryOf = (parts: readonly (string | false)[], none: string) => parts.filter(Boolean).join(', ') || none

function ConsoleField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const summary = summaryOf(
    [
      shownValue(form, 'usbInput') === true && t('console.usbInput'),
      shownValue(form, 'serial') === true && t('console.serial'),
    ],
    t('more.none'),
  )
  return (
    <Group form={form} title={t('console.title')} summary={summary} fields={['usbInput', 'serial']}>
      <Toggle form={form} field="usbInput" />
      <Toggle form={form} field="serial" />
    </Group>
  )
}

function HelperFields({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const fields = ['rng', 'balloon', 'agentChannel'] as const
  const names = { rng: 'virtio-rng', balloon: 'virtio-balloon', agentChannel: 'qemu-guest-agent' }
  return (
    <Group
      form={form}
      title={t('helpers.title')}
      summary={summaryOf(
        fields.map((field) => shownValue(form, field) === true && names[field]),
        t('more.none'),
      )}
      fields={fields}
    >
      {fields.map((field) => (
        <Toggle key={field} form={form} field={field} />
      ))}
    </Group>
  )
}

function PortsField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const value = shownValue(form, 'spareRootPorts')
  return (
    <Group
      form={form}
      title={t('ports.title')}
      summary={value === null ? '' : String(value)}
      fields={['spareRootPorts']}
    >
      <div id="field-spareRootPorts" tabIndex={-1}>
        <NumberField
          className="max-w-60"
          label={t('ports.label')}
          hint={t('ports.hint')}
          min={0}
          max={16}
          value={value}
          onValue={(next) => form.setScalar('spareRootPorts', next)}
          error={form.errorOf('spareRootPorts')}
        />
      </div>
    </Group>
  )
}

function ClockField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const clock = shownValue(form, 'clock')
  const autostart = shownValue(form, 'autostart') ?? false
  return (
    <Group
      form={form}
      title={t('clock.title')}
      summary={summaryOf([clock !== null && t(`clock.${clock}`), autostart && t('clock.autostart')], '')}
      fields={['clock', 'autostart']}
    >
      <div id="field-clock" tabIndex={-1}>
        <Select
          className="max-w-60"
          label={t('clock.label')}
          value={clock ?? 'utc'}
          onChange={(event) => form.setScalar('clock', event.target.value === 'localtime' ? 'localtime' : 'utc')}
          error={form.errorOf('clock')}
          options={[
            { value: 'utc', label: t('clock.utc') },
            { value: 'localtime', label: t('clock.localtime') },
          ]}
        />
      </div>
      <div id="field-autostart" tabIndex={-1}>
        <Checkbox
          label={t('clock.autostart')}
          hint={t('clock.autostartHint')}
          checked={autostart}
          onChange={(event) => form.setScalar('autostart', event.target.checked)}
        />
      </div>
    </Group>
  )
}

function MachineField({ form }: { readonly form: SpecForm }) {
  const t = useT(spec)
  const machines = useQuery(queries.capabilities()).data?.machines ?? []
  const value = shownValue(form, 'machine')
  const names = machines.filter((machine) => /^pc-q35-[0-9]/.test(machine.name))
  return (
    <Group form={form} title={t('machine.title')} summary={value ?? ''} fields={['machine']}>
      <div id="field-machine" tabIndex={-1}>
        <Select
          className="max-w-60"
          label={t('machine.label')}
          hint={t('machine.hint')}
          value={value ?? ''}
          onChange={(event) => form.setScalar('machine', event.target.value)}
          error={form.errorOf('machine')}
          options={[
            ...(value !== null && !names.some((machine) => machine.name === value) ? [{ value, label: value }] : []),
            ...names.map((machine) => ({
              value: machine.name,
              label: machine.deprecated ? t('cpuModel.deprecated', { name: machine.name }) : machine.name,
            })),
          ]}
        />
      </div>
    </Group>
  )
}

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
      fields={['description', 'tags']}
    >
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
