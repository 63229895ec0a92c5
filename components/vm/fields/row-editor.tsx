'use client'
import { useQuery } from '@tanstack/react-query'
import { Plus, Trash2 } from 'lucide-react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import type { FamilyId } from '#lib/devices/catalogue.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { type RowList, rowsOf } from '../spec-draft.ts'
import { ChoiceField } from './choice-field.tsx'
import { rowKey, type SpecForm } from './form.ts'
import { Columns, FlagInput, NumberInput, TextInput } from './plain-fields.tsx'
import { groupOf, type HostDeviceType, hostChoices, newRow, ROW_LIMITS } from './rows.ts'
import { boardOf, type FieldScope, rowScope, updateRows } from './scope.ts'
import { useWords } from './use-words.ts'

const FAMILY: { readonly [L in RowList]: FamilyId } = {
  inputs: 'inputType',
  dimms: 'dimms',
  channels: 'channelDevice',
  shares: 'shareDriver',
  hostDevices: 'hostDevice',
}

/** Lists that lead out of the guest into the host. */
const ADMIN_LISTS: ReadonlySet<RowList> = new Set(['shares', 'hostDevices'])

/** Why a list cannot be touched here; null when it can. */
function useReason(form: SpecForm, list: RowList): string | null {
  const t = useT(deviceForms)
  const isAdmin = useCan('user.manage')
  if (ADMIN_LISTS.has(list) && !isAdmin) return t('adminOnly')
  return list === 'dimms' && boardOf(form) === 'microvm' ? t('wantsHotplug') : null
}

/** All devices of a list, each with its fields, and the button that adds one. */
export function RowEditor({ form, list }: { readonly form: SpecForm; readonly list: RowList }) {
  const t = useT(deviceForms)
  const words = useWords()(FAMILY[list])
  const rows = rowsOf(form.draft, list)
  const held = useReason(form, list)
  const reason = held ?? (rows.length >= ROW_LIMITS[list] ? t('rows.full', { count: ROW_LIMITS[list] }) : null)
  const error = form.errorOf(list)
  return (
    <section id={`field-${list}`} tabIndex={-1} aria-label={words.name} className="flex min-w-0 flex-col gap-3">
      <div>
        <h4 className="font-medium text-dim text-sm">{words.name}</h4>
        <p className="text-faint text-sm">{words.what}</p>
      </div>
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      {rows.length > 0 && (
        <ul className="flex flex-col gap-3">
          {rows.map((row, index) => (
            <li key={row.key} className="rounded-md border border-line p-3">
              <RowFields form={form} list={list} index={index} />
            </li>
          ))}
        </ul>
      )}
      <div>
        <Button
          size="sm"
          icon={<Plus size={14} aria-hidden="true" />}
          disabledReason={reason}
          onClick={() =>
            updateRows(form, list, (before) => [...before, { key: rowKey(), fields: newRow(list, before) }])
          }
        >
          {t(`rows.${list}`)}
        </Button>
      </div>
    </section>
  )
}

/** One device of a list. */
export function RowFields({
  form,
  list,
  index,
}: {
  readonly form: SpecForm
  readonly list: RowList
  readonly index: number
}) {
  const t = useT(deviceForms)
  const words = useWords()(FAMILY[list])
  const reason = useReason(form, list)
  const disabledReason = ADMIN_LISTS.has(list) ? reason : null
  const scope = rowScope(form, list, index)
  const id = scope.get('id')
  const name = `${words.name} ${typeof id === 'string' ? id : index + 1}`
  const error = form.errorOf(scope.path) ?? scope.errorOf('id')
  return (
    <div id={`field-${list}-${index}`} tabIndex={-1} className="@container flex min-w-0 flex-col gap-3">
      <div className="flex items-center justify-between gap-2">
        <h5 className="min-w-0 font-medium">{name}</h5>
        <IconButton
          size="sm"
          label={t('removeNamed', { name })}
          disabledReason={disabledReason}
          onClick={() => updateRows(form, list, (rows) => rows.filter((_, n) => n !== index))}
        >
          <Trash2 size={14} aria-hidden="true" />
        </IconButton>
      </div>
      {list === 'inputs' && <InputFields scope={scope} />}
      {list === 'dimms' && (
        <NumberInput scope={scope} name="sizeMiB" label={t('field.dimmSize')} unit="MiB" min={128} />
      )}
      {list === 'channels' && <ChannelFields scope={scope} />}
      {list === 'shares' && <ShareFields scope={scope} disabledReason={disabledReason} />}
      {list === 'hostDevices' && <HostDeviceFields scope={scope} disabledReason={disabledReason} />}
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
    </div>
  )
}

interface RowProps {
  readonly scope: FieldScope
  readonly disabledReason: string | null
}

function InputFields({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  const hasPci = boardOf(scope.form) !== 'microvm'
  return (
    <>
      <ChoiceField
        scope={scope}
        name="bus"
        family="inputBus"
        refuse={(choice) => (choice === 'usb' && scope.get('type') === 'multitouch' ? t('wantsVirtioBus') : null)}
      />
      <Columns>
        <ChoiceField
          scope={scope}
          name="type"
          family="inputType"
          as="select"
          refuse={(choice) => (choice === 'multitouch' && !hasPci ? t('wantsBoard.pci') : null)}
        />
        {scope.get('bus') === 'virtio' ? <Socket scope={scope} /> : <Port scope={scope} min={1} max={15} />}
      </Columns>
    </>
  )
}

function ChannelFields({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  const device = scope.get('device')
  return (
    <>
      <ChoiceField scope={scope} name="device" family="channelDevice" />
      <Columns>
        {device === 'virtserialport' && (
          <TextInput
            scope={scope}
            name="name"
            label={t('field.channelName')}
            hint={t('field.channelNameHint')}
            nullable
            mono
            maxLength={64}
          />
        )}
        <ChoiceField scope={scope} name="backend" family="channelBackend" as="select" />
        {device === 'isa-serial' ? <Port scope={scope} min={1} max={3} /> : <Port scope={scope} min={2} max={30} />}
      </Columns>
    </>
  )
}

function ShareFields({ scope, disabledReason }: RowProps) {
  const t = useT(deviceForms)
  const tag = scope.get('tag')
  const driver = scope.get('driver') === '9p' ? '9p' : 'virtiofs'
  const shared = { scope, disabledReason }
  return (
    <>
      <ChoiceField
        {...shared}
        name="driver"
        family="shareDriver"
        refuse={(choice) => (choice === 'virtiofs' && boardOf(scope.form) === 'microvm' ? t('wantsBoard.pci') : null)}
      />
      <Columns>
        <TextInput {...shared} name="source" label={t('field.source')} hint={t('field.hostPathHint')} mono />
        <TextInput
          {...shared}
          name="tag"
          label={t('field.tag')}
          hint={t('field.tagHint', { driver, tag: typeof tag === 'string' && tag !== '' ? tag : '…' })}
          mono
          maxLength={31}
        />
        <FlagInput {...shared} name="readOnly" label={t('field.shareReadOnly')} />
        <Socket scope={scope} />
      </Columns>
    </>
  )
}

/** What is plugged into the host can be picked; the fields stay open for what is not plugged in now. */
function HostDeviceFields({ scope, disabledReason }: RowProps) {
  const t = useT(deviceForms)
  const host = useQuery(queries.hostDevices()).data
  // The schema knows no others.
  const type = (scope.get('type') ?? 'usb-id') as HostDeviceType
  const choices = hostChoices(type, host)
  const chosen = choices.find(({ fields }) =>
    Object.entries(fields).every(([name, value]) => scope.get(name) === value),
  )
  const group = type === 'pci' ? groupOf(scope.get('address'), host) : []
  const shared = { scope, disabledReason, mono: true }
  return (
    <>
      <ChoiceField scope={scope} name="type" family="hostDevice" disabledReason={disabledReason} />
      <Select
        label={t('field.pick')}
        value={chosen?.value ?? ''}
        disabledReason={disabledReason}
        hint={
          chosen?.reason ??
          (group.length > 0
            ? t('field.groupWith', { devices: group.join(', ') })
            : host !== undefined && choices.length === 0
              ? t('field.pickEmpty')
              : undefined)
        }
        onChange={(event) => {
          const picked = choices.find((choice) => choice.value === event.target.value)
          for (const [name, value] of Object.entries(picked?.fields ?? {})) scope.set(name, value)
        }}
        options={[
          { value: '', label: t('field.pickNone') },
          ...choices.map(({ value, label, reason }) => ({
            value,
            label: reason === null ? label : `${label} – ${reason}`,
            disabled: reason !== null,
          })),
        ]}
      />
      <Columns>
        {type === 'usb-id' && (
          <>
            <TextInput {...shared} name="vendor" label={t('field.vendor')} placeholder="0951" maxLength={4} />
            <TextInput {...shared} name="product" label={t('field.productId')} placeholder="1666" maxLength={4} />
          </>
        )}
        {type === 'usb-port' && (
          <>
            <NumberInput
              scope={scope}
              disabledReason={disabledReason}
              name="hostBus"
              label={t('field.hostBus')}
              min={1}
              max={255}
            />
            <TextInput {...shared} name="hostPort" label={t('field.hostPort')} placeholder="1.4" />
          </>
        )}
        {type === 'pci' && (
          <TextInput {...shared} name="address" label={t('field.address')} placeholder="0000:03:00.0" />
        )}
        {type === 'mdev' && <TextInput {...shared} name="uuid" label={t('field.uuid')} maxLength={36} />}
        {type === 'pci' || type === 'mdev' ? <Socket scope={scope} /> : <Port scope={scope} min={1} max={15} />}
      </Columns>
    </>
  )
}

function Socket({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  const shared = { label: t('field.rootPort'), hint: t('field.rootPortHint') }
  return <NumberInput scope={scope} name="rootPort" {...shared} min={0} max={31} />
}

function Port({ scope, min, max }: { readonly scope: FieldScope; readonly min: number; readonly max: number }) {
  const t = useT(deviceForms)
  const shared = { label: t('field.port'), hint: t('field.rootPortHint') }
  return <NumberInput scope={scope} name="port" {...shared} min={min} max={max} />
}
