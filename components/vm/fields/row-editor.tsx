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
import { type Fields, type RowList, rowsOf } from '../spec-draft.ts'
import { ChoiceField } from './choice-field.tsx'
import { rowKey, type SpecForm } from './form.ts'
import { Columns, FlagInput, NumberInput, TextInput } from './plain-fields.tsx'
import { boardOf, type FieldScope, rowScope, updateRows } from './scope.ts'
import { useWords } from './use-words.ts'

/** What a new row begins as, which family names it, how many fit, and whose it is. */
const LISTS: Readonly<
  Record<
    RowList,
    { readonly family: FamilyId; readonly max: number; readonly initial: Fields; readonly admin: boolean }
  >
> = {
  inputs: { family: 'inputType', max: 8, initial: { type: 'tablet', bus: 'usb' }, admin: false },
  dimms: { family: 'dimms', max: 16, initial: { sizeMiB: 1024 }, admin: false },
  channels: {
    family: 'channelDevice',
    max: 16,
    initial: { device: 'virtserialport', backend: 'socket' },
    admin: false,
  },
  shares: { family: 'shareDriver', max: 8, initial: { driver: 'virtiofs', source: '', readOnly: true }, admin: true },
  hostDevices: { family: 'hostDevice', max: 16, initial: { type: 'usb-id', vendor: '', product: '' }, admin: true },
}

/** Adds an empty row to a list. */
export const addRow = (form: SpecForm, list: RowList): void =>
  updateRows(form, list, (rows) => [...rows, { key: rowKey(), fields: LISTS[list].initial }])

/** All devices of a list, each with its fields, and the button that adds one. */
export function RowEditor({ form, list }: { readonly form: SpecForm; readonly list: RowList }) {
  const t = useT(deviceForms)
  const { family, max, admin } = LISTS[list]
  const words = useWords()(family)
  const isAdmin = useCan('user.manage')
  const rows = rowsOf(form.draft, list)
  const reason = admin && !isAdmin ? t('adminOnly') : rows.length >= max ? t('full', { max }) : null
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
          onClick={() => addRow(form, list)}
        >
          {t('addNamed', { name: words.name })}
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
  const words = useWords()(LISTS[list].family)
  const scope = rowScope(form, list, index)
  const id = scope.get('id')
  const name = `${words.name} ${typeof id === 'string' ? id : index + 1}`
  const error = form.errorOf(scope.path) ?? form.errorOf(`${scope.path}.id`)
  return (
    <div id={`field-${list}-${index}`} tabIndex={-1} className="@container flex min-w-0 flex-col gap-3">
      <div className="flex items-center justify-between gap-2">
        <h5 className="min-w-0 font-medium">{name}</h5>
        <IconButton
          size="sm"
          label={t('removeNamed', { name })}
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
      {list === 'shares' && <ShareFields scope={scope} />}
      {list === 'hostDevices' && <HostDeviceFields form={form} index={index} scope={scope} />}
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
    </div>
  )
}

function InputFields({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  return (
    <>
      <ChoiceField scope={scope} name="type" family="inputType" as="select" />
      <ChoiceField
        scope={scope}
        name="bus"
        family="inputBus"
        refuse={(choice) => (choice === 'usb' && scope.get('type') === 'multitouch' ? t('wantsVirtio') : null)}
      />
    </>
  )
}

function ChannelFields({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  return (
    <>
      <ChoiceField scope={scope} name="device" family="channelDevice" />
      <Columns>
        {scope.get('device') === 'virtserialport' && (
          <TextInput
            scope={scope}
            name="name"
            label={t('field.channelName')}
            hint={t('field.channelNameHint')}
            nullable
            mono
          />
        )}
        <ChoiceField scope={scope} name="backend" family="channelBackend" as="select" />
      </Columns>
    </>
  )
}

function ShareFields({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  return (
    <>
      <ChoiceField
        scope={scope}
        name="driver"
        family="shareDriver"
        refuse={(choice) => (choice === 'virtiofs' && boardOf(scope.form) === 'microvm' ? t('wantsBoard.pci') : null)}
      />
      <Columns>
        <TextInput scope={scope} name="source" label={t('field.source')} hint={t('field.hostPathHint')} mono />
        <TextInput scope={scope} name="tag" label={t('field.tag')} mono />
      </Columns>
      <FlagInput scope={scope} name="readOnly" label={t('field.shareReadOnly')} />
    </>
  )
}

const BY_HAND = ''

/** What is plugged into the host can be picked; the fields stay open for what is not plugged in now. */
function HostDeviceFields({
  form,
  index,
  scope,
}: {
  readonly form: SpecForm
  readonly index: number
  readonly scope: FieldScope
}) {
  const t = useT(deviceForms)
  const host = useQuery(queries.hostDevices()).data
  const type = scope.get('type')
  const put = (fields: Fields) =>
    updateRows(form, 'hostDevices', (rows) =>
      rows.map((row, n) =>
        n === index
          ? { ...row, fields: { ...(typeof row.fields.id === 'string' ? { id: row.fields.id } : {}), ...fields } }
          : row,
      ),
    )
  const found: readonly { readonly label: string; readonly fields: Fields; readonly reason: string | null }[] =
    host === undefined
      ? []
      : type === 'usb-id' || type === 'usb-port'
        ? host.usb
            .filter((device) => !device.isHub)
            .map((device) => ({
              label: `${device.path} ${device.productName ?? `${device.vendorId}:${device.productId}`}`,
              reason: device.assignable ? null : device.reason,
              fields:
                type === 'usb-id'
                  ? { type, vendor: device.vendorId, product: device.productId }
                  : { type, hostBus: device.bus, hostPort: device.port },
            }))
        : type === 'pci'
          ? host.pci
              .filter((device) => !device.isBridge)
              .map((device) => ({
                label: `${device.address} ${device.deviceName ?? device.className}`,
                reason: device.assignable ? null : device.reason,
                fields: { type, address: device.address },
              }))
          : host.mdev.instances.map((instance) => ({
              label: `${instance.uuid} ${instance.type ?? ''}`,
              reason: null,
              fields: { type: 'mdev', uuid: instance.uuid },
            }))
  return (
    <>
      <ChoiceField scope={scope} name="type" family="hostDevice" onValue={(next) => put({ type: next })} />
      {found.length > 0 && (
        <Select
          label={t('field.pick')}
          value={BY_HAND}
          onChange={(event) => {
            const picked = found[Number(event.target.value)]
            if (event.target.value !== BY_HAND && picked !== undefined) put(picked.fields)
          }}
          options={[
            { value: BY_HAND, label: t('field.pickNone') },
            ...found.map((device, n) => ({
              value: String(n),
              label: device.reason === null ? device.label : `${device.label} – ${device.reason}`,
              disabled: device.reason !== null,
            })),
          ]}
        />
      )}
      <Columns>
        {type === 'usb-id' && (
          <>
            <TextInput scope={scope} name="vendor" label={t('field.vendor')} mono maxLength={4} placeholder="1d6b" />
            <TextInput
              scope={scope}
              name="product"
              label={t('field.productId')}
              mono
              maxLength={4}
              placeholder="0002"
            />
          </>
        )}
        {type === 'usb-port' && (
          <>
            <NumberInput scope={scope} name="hostBus" label={t('field.hostBus')} min={1} max={255} />
            <TextInput scope={scope} name="hostPort" label={t('field.hostPort')} mono placeholder="1.4" />
          </>
        )}
        {type === 'pci' && (
          <TextInput scope={scope} name="address" label={t('field.address')} mono placeholder="0000:03:00.0" />
        )}
        {type === 'mdev' && <TextInput scope={scope} name="uuid" label={t('field.uuid')} mono />}
      </Columns>
    </>
  )
}
