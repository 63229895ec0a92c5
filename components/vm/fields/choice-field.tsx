'use client'
import { useQuery } from '@tanstack/react-query'
import { Badge, type BadgeTone } from '#components/ui/badge.tsx'
import { Checkbox, RadioCards } from '#components/ui/choice.tsx'
import { Select } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { type ChoiceKind, type FamilyId, familyOf } from '#lib/devices/catalogue.ts'
import type { ChoiceWords } from '#lib/devices/words.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import type { CapabilitiesView } from '#lib/schema/host.ts'
import type { GuestKind } from '#lib/schema/vm-spec.ts'
import { type FieldScope, guestOf } from './scope.ts'
import { useWords } from './use-words.ts'

const TONE: Record<ChoiceKind, BadgeTone> = {
  paravirtual: 'running',
  emulated: 'plain',
  passthrough: 'attention',
  none: 'plain',
  setting: 'plain',
}

/** Why a choice cannot be taken on this host; null when it can, or when that is not known yet. */
export function useMissing(): (id: FamilyId, value: string) => string | null {
  const t = useT(deviceForms)
  const capabilities = useQuery(queries.capabilities()).data
  return (id, value) => {
    const choice = familyOf(id).choices?.[value]
    if (choice === undefined || capabilities === undefined) return null
    const type = choice.types.find((needed) => !isThere(capabilities, needed))
    if (type !== undefined) return t('missingType', { version: capabilities.qemuVersion, type })
    const offer = choice.offer === undefined ? undefined : capabilities.offers[choice.offer]
    return offer?.available === false ? [offer.reason, offer.command].filter(Boolean).join(' ') : null
  }
}

const isThere = (capabilities: CapabilitiesView, type: string) =>
  capabilities.devices.includes(type) ||
  capabilities.machines.some((machine) => type === `${machine.name}-machine` || type === machine.name)

export interface ChoiceFieldProps {
  readonly scope: FieldScope
  /** Field of the definition. */
  readonly name: string
  readonly family: FamilyId
  /** `cards` explain every choice at once; `select` only the chosen one. */
  readonly as?: 'cards' | 'select'
  /** Why a choice cannot be taken here, beyond what the host lacks. */
  readonly refuse?: (value: string) => string | null
  readonly onValue?: (value: string) => void
  /** What is chosen now, when it is not the value of the field itself. */
  readonly value?: string | null
  readonly hideLegend?: boolean
  readonly disabledReason?: string | null
  readonly className?: string
}

/** One choice of a family, with what each means, needs and costs, and which to take for this guest. */
export function ChoiceField(props: ChoiceFieldProps) {
  const { scope, name, family, as = 'cards', refuse, onValue, hideLegend = false, disabledReason, className } = props
  const t = useT(deviceForms)
  const words = useWords()(family)
  const missing = useMissing()
  const guest = guestOf(scope.form)
  const { choices } = familyOf(family)
  const stored = scope.get(name)
  const value = props.value !== undefined ? props.value : typeof stored === 'string' ? stored : null
  const set = onValue ?? ((next: string) => scope.set(name, next))
  const reasonOf = (choice: string) =>
    // What is chosen already stays possible to keep.
    choice === value ? null : (disabledReason ?? missing(family, choice) ?? refuse?.(choice) ?? null)
  const entries = Object.entries(choices ?? {})
  const id = fieldId(scope, name)
  if (as === 'select') {
    const chosen = words.choices?.[value ?? '']
    return (
      <div id={id} tabIndex={-1} className={className}>
        <Select
          label={words.name}
          value={value ?? ''}
          disabledReason={disabledReason}
          error={scope.errorOf(name)}
          hint={
            chosen && <ChoiceNote words={chosen} guest={guest} isBest={choices?.[value ?? '']?.best.includes(guest)} />
          }
          onChange={(event) => set(event.target.value)}
          options={entries.map(([choice, { best }]) => {
            const reason = reasonOf(choice)
            const label = words.choices?.[choice]?.name ?? choice
            return {
              value: choice,
              label:
                reason === null
                  ? best.includes(guest)
                    ? `${label} – ${t('take', { guest })}`
                    : label
                  : `${label} – ${reason}`,
              disabled: reason !== null,
            }
          })}
        />
      </div>
    )
  }
  return (
    <div id={id} tabIndex={-1} className={className}>
      <RadioCards
        legend={words.name}
        hideLegend={hideLegend}
        name={id}
        value={value}
        onValue={set}
        error={scope.errorOf(name)}
        columns="grid-cols-1 @xl:grid-cols-2"
        options={entries.map(([choice, { kind, best }]) => {
          const of = words.choices?.[choice]
          const reason = reasonOf(choice)
          return {
            value: choice,
            label: of?.name ?? choice,
            disabledReason: reason,
            description: of && (
              <ChoiceNote words={of} kind={kind} guest={guest} isBest={best.includes(guest) && entries.length > 1} />
            ),
          }
        })}
      />
    </div>
  )
}

/** Kind, meaning, needs and cost of one choice. Spans only: it stands inside a label's description. */
function ChoiceNote({
  words,
  kind,
  guest,
  isBest = false,
}: {
  readonly words: ChoiceWords
  readonly kind?: ChoiceKind
  readonly guest: GuestKind
  readonly isBest?: boolean | undefined
}) {
  const t = useT(deviceForms)
  const badge = kind === 'paravirtual' || kind === 'emulated' || kind === 'passthrough' ? kind : null
  return (
    <>
      {(badge !== null || isBest) && kind !== undefined && (
        <span className="mt-0.5 mb-1 flex flex-wrap gap-1">
          {badge !== null && (
            <Badge tone={TONE[badge]} tip={t(`kindTip.${badge}`)}>
              {t(`kind.${badge}`)}
            </Badge>
          )}
          {isBest && <Badge tone="accent">{t('take', { guest })}</Badge>}
        </span>
      )}
      <span className="block">
        {words.what}
        {isBest && words.why && ` ${words.why}`}
      </span>
      {words.needs && (
        <span className="block">
          <span className="text-faint">{t('needs')}:</span> {words.needs}
        </span>
      )}
      {words.cost && (
        <span className="block">
          <span className="text-faint">{t('cost')}:</span> {words.cost}
        </span>
      )}
    </>
  )
}

/** A family that is on or off. */
export function SwitchField({
  scope,
  name,
  family,
  refuse,
}: {
  readonly scope: FieldScope
  readonly name: string
  readonly family: FamilyId
  readonly refuse?: string | null
}) {
  const words = useWords()(family)
  const missing = useMissing()
  const guest = guestOf(scope.form)
  const on = words.choices?.on
  const checked = scope.get(name) === true
  const error = scope.errorOf(name)
  const choice = familyOf(family).choices?.on
  return (
    <div id={fieldId(scope, name)} tabIndex={-1}>
      <Checkbox
        label={words.name}
        hint={
          <span className="block">
            {words.what}
            {on && (
              <ChoiceNote
                words={on}
                guest={guest}
                isBest={choice?.best.includes(guest)}
                {...(choice ? { kind: choice.kind } : {})}
              />
            )}
          </span>
        }
        checked={checked}
        disabledReason={checked ? null : (missing(family, 'on') ?? refuse ?? null)}
        onChange={(event) => scope.set(name, event.target.checked)}
      />
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
    </div>
  )
}

/** Element id of a field, which a JSON pointer leads to. Fields of the VM itself are found by their name. */
export const fieldId = (scope: FieldScope, name: string) =>
  `field-${scope.path === '' ? name : `${scope.path.replaceAll('.', '-')}-${name}`}`
