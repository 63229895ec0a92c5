'use client'
import { useQuery } from '@tanstack/react-query'
import { Button } from '#components/ui/button.tsx'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import type { CapabilitiesView } from '#lib/schema/host.ts'
import { ChoiceField, SwitchField } from '../choice-field.tsx'
import { FamilyField } from '../family-field.tsx'
import { type SpecForm, shownValue } from '../form.ts'
import { boardOf, vmScope } from '../scope.ts'

type Machine = CapabilitiesView['machines'][number]

/** Newest first; what is deprecated last. */
const rank = (machine: Machine) =>
  (machine.name.match(/\d+/g) ?? []).slice(-2).reduce((sum, part) => sum * 1000 + Number(part), 0) -
  (machine.deprecated ? 1e9 : 0)

export function MachinePart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const all = useQuery(queries.capabilities()).data?.machines ?? []
  const scope = vmScope(form)
  const board = boardOf(form)
  const value = shownValue(form, 'machine')
  const uefiReason = shownValue(form, 'firmware') === 'uefi' ? null : t('wantsUefi')
  const of = (family: Machine['family']) =>
    all
      .filter((machine) => machine.family === family && /^(pc-(q35|i440fx)-\d|microvm$)/.test(machine.name))
      .sort((a, b) => rank(b) - rank(a))
  const versions = of(board)
  const newest = versions[0]?.name
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField
        scope={scope}
        name="machine"
        family="machine"
        value={value === null ? null : board}
        onValue={(family) => {
          const first = of(family === 'microvm' || family === 'pc' ? family : 'q35')[0]
          if (first !== undefined) form.setScalar('machine', first.name)
        }}
        refuse={(choice) => (of(choice as Machine['family']).length === 0 && all.length > 0 ? choice : null)}
      />
      {board !== 'microvm' && (
        <div className="flex max-w-md flex-wrap items-end gap-2">
          <Select
            className="min-w-40 flex-1"
            label={t('field.machineVersion')}
            hint={form.mode === 'change' && newest !== value ? t('field.upgradeHint') : t('field.machineHint')}
            value={value ?? ''}
            onChange={(event) => form.setScalar('machine', event.target.value)}
            options={[
              ...(value !== null && !versions.some((machine) => machine.name === value)
                ? [{ value, label: value }]
                : []),
              ...versions.map((machine) => ({ value: machine.name, label: machine.name })),
            ]}
          />
          {form.mode === 'change' && newest !== undefined && newest !== value && (
            <Button size="sm" className="mb-6" onClick={() => form.setScalar('machine', newest)}>
              {t('field.upgrade', { name: newest })}
            </Button>
          )}
        </div>
      )}
      <ChoiceField
        scope={scope}
        name="firmware"
        family="firmware"
        refuse={(choice) => (choice === 'uefi' && board === 'microvm' ? t('wantsBoard.pci') : null)}
        onValue={(next) => {
          form.setScalar('firmware', next === 'uefi' ? 'uefi' : 'bios')
          if (next !== 'uefi' && shownValue(form, 'secureBoot') === true) form.setScalar('secureBoot', false)
        }}
      />
      <SwitchField
        scope={scope}
        name="secureBoot"
        family="secureBoot"
        refuse={uefiReason ?? (board === 'q35' ? null : t('wantsBoard.q35'))}
      />
      <SwitchField scope={scope} name="bootMenu" family="bootOrder" />
      <div className="max-w-60">
        <FamilyField
          scope={scope}
          name="spareRootPorts"
          family="spareRootPorts"
          number={{ min: 0, max: 16 }}
          disabledReason={board === 'q35' ? null : t('wantsBoard.q35')}
        />
      </div>
    </div>
  )
}

export function SecurityPart({ form }: { readonly form: SpecForm }) {
  const t = useT(deviceForms)
  const scope = vmScope(form)
  const board = boardOf(form)
  return (
    <div className="@container flex min-w-0 flex-col gap-4">
      <ChoiceField
        scope={scope}
        name="tpm"
        family="tpm"
        refuse={(choice) => (choice !== 'none' && board === 'microvm' ? t('wantsBoard.pci') : null)}
      />
      <ChoiceField
        scope={scope}
        name="iommu"
        family="iommu"
        refuse={(choice) => (choice !== 'none' && board !== 'q35' ? t('wantsBoard.q35') : null)}
      />
      <SwitchField
        scope={scope}
        name="pvpanic"
        family="pvpanic"
        refuse={board === 'microvm' ? t('wantsBoard.pci') : null}
      />
      <SwitchField
        scope={scope}
        name="generationId"
        family="generationId"
        refuse={board === 'microvm' ? t('wantsBoard.pci') : null}
      />
    </div>
  )
}
