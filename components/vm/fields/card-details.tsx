'use client'
import { useQuery } from '@tanstack/react-query'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { useCan } from '#lib/client/session.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { ChoiceField, fieldId, SwitchField } from './choice-field.tsx'
import { FamilyField } from './family-field.tsx'
import type { SpecForm } from './form.ts'
import { Columns, NumberInput, PartField, TextInput } from './plain-fields.tsx'
import { boardOf, cardScope, type FieldScope } from './scope.ts'
import { useWords } from './use-words.ts'

/** Everything about a network card but its port forwards. */
export function CardDetails({ form, index }: { readonly form: SpecForm; readonly index: number }) {
  const t = useT(deviceForms)
  const rate = useWords()('rateLimit')
  const mac = useWords()('mac')
  const isAdmin = useCan('vm.host')
  const networks = useNetworks()
  const scope = cardScope(form, index)
  const model = scope.get('model')
  const network = scope.get('network')
  const virtioReason = model === 'virtio-net' ? null : t('wantsVirtioNet')
  const bridgeReason = network === 'bridge' ? null : t('wantsBridge')
  const isUsb = model === 'usb-net'
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField
        scope={scope}
        name="model"
        family="cardModel"
        refuse={(choice) => (boardOf(form) === 'microvm' && choice !== 'virtio-net' ? t('wantsBoard.pci') : null)}
      />
      <ChoiceField
        scope={scope}
        name="network"
        family="network"
        refuse={(choice) => (choice === 'bridge' && !isAdmin && networks?.length === 0 ? t('field.noNetworks') : null)}
      />
      {network === 'bridge' && <BridgeField scope={scope} />}
      <SwitchField scope={scope} name="link" family="link" />
      <Columns>
        <TextInput scope={scope} name="mac" label={mac.name} hint={mac.what} mono maxLength={17} />
        <NumberInput
          scope={scope}
          name="bootIndex"
          label={t('field.pxe')}
          hint={t('field.bootIndexHint')}
          min={1}
          max={99}
        />
        <FamilyField
          scope={scope}
          name="mtu"
          family="mtu"
          number={{ min: 576, max: 65_535 }}
          disabledReason={virtioReason}
        />
        <FamilyField
          scope={scope}
          name="queues"
          family="netQueues"
          number={{ min: 1, max: 16 }}
          disabledReason={virtioReason ?? bridgeReason}
        />
      </Columns>
      <SwitchField scope={scope} name="vhost" family="vhost" refuse={virtioReason ?? bridgeReason} />
      <PartField
        scope={scope}
        name="rateLimit"
        label={t('field.rateLimit')}
        hint={rate.what}
        initial={{ inKBps: null, outKBps: null }}
        disabledReason={bridgeReason}
      >
        {(part) => (
          <Columns>
            <NumberInput
              scope={part}
              name="inKBps"
              label={t('field.inKBps')}
              unit="kB/s"
              min={1}
              placeholder={t('unlimited')}
            />
            <NumberInput
              scope={part}
              name="outKBps"
              label={t('field.outKBps')}
              unit="kB/s"
              min={1}
              placeholder={t('unlimited')}
            />
          </Columns>
        )}
      </PartField>
      <Columns>
        {isUsb ? (
          <NumberInput
            scope={scope}
            name="port"
            label={t('field.port')}
            hint={t('field.rootPortHint')}
            min={1}
            max={15}
          />
        ) : (
          <NumberInput
            scope={scope}
            name="rootPort"
            label={t('field.rootPort')}
            hint={t('field.rootPortHint')}
            min={0}
            max={31}
          />
        )}
      </Columns>
    </div>
  )
}

/** Bridges that are open to this person; undefined: not known. */
const useNetworks = () => useQuery({ ...queries.networkList(), enabled: useCan('network.view') }).data?.items

function BridgeField({ scope }: { readonly scope: FieldScope }) {
  const t = useT(deviceForms)
  const isAdmin = useCan('vm.host')
  const networks = useNetworks() ?? []
  const interfaces = useQuery(queries.hostDevices()).data?.interfaces
  const bridges = isAdmin
    ? (interfaces ?? []).filter((entry) => entry.kind === 'bridge').map((entry) => entry.name)
    : networks.map(({ bridge }) => bridge)
  const nameOf = (bridge: string) =>
    [bridge, networks.flatMap((network) => (network.bridge === bridge ? network.name : [])).join(', ')]
      .filter(Boolean)
      .join(' · ')
  const value = scope.get('bridge')
  const chosen = typeof value === 'string' ? value : ''
  return (
    <div id={fieldId(scope, 'bridge')} className="max-w-60">
      <Select
        label={t('field.bridge')}
        value={chosen}
        error={scope.errorOf('bridge')}
        hint={interfaces !== undefined && bridges.length === 0 ? t('field.bridgeNone') : undefined}
        onChange={(event) => scope.set('bridge', event.target.value === '' ? null : event.target.value)}
        options={[
          { value: '', label: '–' },
          ...[...new Set([...bridges, ...(chosen === '' ? [] : [chosen])])].map((name) => ({
            value: name,
            label: nameOf(name),
          })),
        ]}
      />
    </div>
  )
}
