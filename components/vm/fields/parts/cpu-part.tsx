'use client'
import { useQuery } from '@tanstack/react-query'
import { Checkbox } from '#components/ui/choice.tsx'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { spec as specMessages } from '#lib/i18n/messages/en/spec.ts'
import { fieldId, SwitchField } from '../choice-field.tsx'
import { type SpecForm, shownValue } from '../form.ts'
import { Columns, NumberInput, RowList, TextInput } from '../plain-fields.tsx'
import { listField, partScope, vmScope } from '../scope.ts'
import { useWords } from '../use-words.ts'

export function CpuPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()
  const scope = vmScope(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <Columns>
        <NumberInput
          scope={scope}
          name="maxCpus"
          label={t('field.maxCpus')}
          hint={t('field.maxCpusHint')}
          min={1}
          max={255}
        />
        <CpuModel form={form} />
      </Columns>
      <Flags form={form} />
      <Topology form={form} />
      <SwitchField scope={scope} name="hyperv" family="hyperv" />
      <section className="flex flex-col gap-2" aria-label={words('pinning').name}>
        <h4 className="font-medium text-dim text-sm">{words('pinning').name}</h4>
        <p className="text-faint text-sm">{words('pinning').what}</p>
        <Pinning form={form} />
      </section>
      <section className="flex flex-col gap-2" aria-label={words('numa').name}>
        <h4 className="font-medium text-dim text-sm">{words('numa').name}</h4>
        <p className="text-faint text-sm">
          {words('numa').what} {t('field.numaHint')}
        </p>
        <Numa form={form} />
      </section>
    </div>
  )
}

function CpuModel({ form }: { readonly form: SpecForm }) {
  const t = useT(specMessages)
  const words = useWords()('cpuModel')
  const models = useQuery(queries.capabilities()).data?.cpuModels ?? []
  const value = shownValue(form, 'cpuModel')
  const chosen = models.find((model) => model.name === value)
  const of = words.choices?.[value === null || value === 'auto' ? 'auto' : 'named']
  const known = value === null || value === 'auto' || chosen !== undefined
  return (
    <div id="field-cpuModel" tabIndex={-1}>
      <Select
        label={words.name}
        hint={[of?.what, chosen !== undefined && chosen.missing.length > 0 && chosen.missing.join(', ')]
          .filter(Boolean)
          .join(' ')}
        value={value ?? 'auto'}
        onChange={(event) => form.setScalar('cpuModel', event.target.value)}
        error={form.errorOf('cpuModel')}
        options={[
          { value: 'auto', label: t('cpuModel.auto') },
          ...(known ? [] : [{ value, label: value }]),
          ...models.map((model) => ({
            value: model.name,
            label: model.deprecated
              ? t('cpuModel.deprecated', { name: model.name })
              : model.missing.length > 0
                ? t('cpuModel.missing', { name: model.name, count: model.missing.length })
                : model.name,
          })),
        ]}
      />
    </div>
  )
}

function Flags({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('cpuFlags')
  const flags = useQuery(queries.capabilities()).data?.cpuFlags ?? []
  const scope = vmScope(form)
  const { rows, add } = listField(scope, 'cpuFlags')
  const used = new Set(rows.map((row) => row.get('name')))
  const next = flags.find((flag) => flag.given && !used.has(flag.name))
  const error = form.errorOf('cpuFlags')
  return (
    <section id="field-cpuFlags" tabIndex={-1} className="flex flex-col gap-2" aria-label={words.name}>
      <h4 className="font-medium text-dim text-sm">{words.name}</h4>
      <p className="text-faint text-sm">{words.what}</p>
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      <RowList
        addLabel={t('field.addFlag')}
        onAdd={() => add({ name: next?.name ?? 'aes', enabled: true })}
        rows={rows.map((row, n) => {
          const name = String(row.get('name'))
          return {
            key: String(n),
            name,
            onRemove: row.remove,
            fields: (
              <>
                <Select
                  label={t('field.cpuFlag')}
                  value={name}
                  error={row.errorOf('name')}
                  onChange={(event) => row.set('name', event.target.value)}
                  options={[
                    ...(flags.some((flag) => flag.name === name) ? [] : [{ value: name, label: name }]),
                    ...flags.map((flag) => ({
                      value: flag.name,
                      label: flag.given ? flag.name : t('field.flagMissing', { name: flag.name }),
                    })),
                  ]}
                />
                <Select
                  label={t('field.cpuFlagState')}
                  value={row.get('enabled') === true ? 'on' : 'off'}
                  onChange={(event) => row.set('enabled', event.target.value === 'on')}
                  options={[
                    { value: 'on', label: t('field.flagOn') },
                    { value: 'off', label: t('field.flagOff') },
                  ]}
                />
              </>
            ),
          }
        })}
      />
    </section>
  )
}

function Topology({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const words = useWords()('topology')
  const scope = vmScope(form)
  const isOn = shownValue(form, 'topology') !== null
  const part = partScope(scope, 'topology')
  const max = shownValue(form, 'maxCpus') ?? 1
  const error = form.errorOf('topology')
  return (
    <div id={fieldId(scope, 'topology')} tabIndex={-1} className="flex flex-col gap-2">
      <Checkbox
        label={t('field.customTopology')}
        hint={isOn ? t('field.topologyHint') : words.what}
        checked={isOn}
        onChange={(event) =>
          scope.set('topology', event.target.checked ? { sockets: 1, cores: max, threads: 1 } : null)
        }
      />
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      {isOn && (
        <div className="grid gap-3 ps-6 @md:grid-cols-3">
          <NumberInput scope={part} name="sockets" label={t('field.sockets')} min={1} max={64} />
          <NumberInput scope={part} name="cores" label={t('field.cores')} min={1} max={255} />
          <NumberInput scope={part} name="threads" label={t('field.threads')} min={1} max={8} />
        </div>
      )}
    </div>
  )
}

function Pinning({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const offer = useQuery(queries.capabilities()).data?.offers.cpuPinning
  const { rows, add } = listField(vmScope(form), 'pinning')
  const error = form.errorOf('pinning')
  return (
    <div id="field-pinning" tabIndex={-1} className="flex flex-col gap-2">
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      <RowList
        addLabel={t('field.addPin')}
        addReason={offer?.available === false ? offer.reason : null}
        onAdd={() => add({ vcpu: rows.length, hostCpus: String(rows.length) })}
        rows={rows.map((row, n) => ({
          key: String(n),
          name: `${t('field.vcpu')} ${String(row.get('vcpu') ?? '')}`,
          onRemove: row.remove,
          fields: (
            <>
              <NumberInput scope={row} name="vcpu" label={t('field.vcpu')} min={0} max={254} />
              <TextInput scope={row} name="hostCpus" label={t('field.hostCpus')} hint={t('field.hostCpusHint')} mono />
            </>
          ),
        }))}
      />
    </div>
  )
}

function Numa({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const { rows, add } = listField(vmScope(form), 'numa')
  const error = form.errorOf('numa')
  return (
    <div id="field-numa" tabIndex={-1} className="flex flex-col gap-2">
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      <RowList
        addLabel={t('field.addNode')}
        onAdd={() => add({ cpus: String(rows.length), memoryMiB: 512, hostNodes: null })}
        rows={rows.map((row, n) => ({
          key: String(n),
          name: t('field.numaNode', { number: String(n) }),
          onRemove: row.remove,
          fields: (
            <>
              <TextInput scope={row} name="cpus" label={t('field.numaCpus')} mono />
              <NumberInput scope={row} name="memoryMiB" label={t('field.numaMemory')} unit="MiB" min={16} />
              <TextInput scope={row} name="hostNodes" label={t('field.hostNodes')} nullable mono />
            </>
          ),
        }))}
      />
    </div>
  )
}
