'use client'
import { Plus, Trash2 } from 'lucide-react'
import type { ReactNode } from 'react'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { NumberField, TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { fieldId } from './choice-field.tsx'
import { type FieldScope, partScope } from './scope.ts'

interface Plain {
  readonly scope: FieldScope
  readonly name: string
  readonly label: string
  readonly hint?: string
  readonly disabledReason?: string | null
}

/** A number. Emptied it is null, which fields that need one report. */
export function NumberInput({
  scope,
  name,
  label,
  hint,
  disabledReason,
  ...rest
}: Plain & {
  readonly unit?: string
  readonly min?: number
  readonly max?: number
  readonly step?: number
  readonly placeholder?: string
}) {
  const value = scope.get(name)
  return (
    <div id={fieldId(scope, name)} tabIndex={-1} className="min-w-0">
      <NumberField
        {...rest}
        label={label}
        hint={hint}
        disabledReason={disabledReason}
        value={typeof value === 'number' ? value : null}
        onValue={(next) => scope.set(name, next)}
        error={scope.errorOf(name)}
      />
    </div>
  )
}

/** A line of text; empty is null where the field may be. */
export function TextInput({
  scope,
  name,
  label,
  hint,
  disabledReason,
  nullable = false,
  ...rest
}: Plain & {
  readonly nullable?: boolean
  readonly mono?: boolean
  readonly placeholder?: string
  readonly maxLength?: number
}) {
  const value = scope.get(name)
  return (
    <div id={fieldId(scope, name)} tabIndex={-1} className="min-w-0">
      <TextField
        {...rest}
        label={label}
        hint={hint}
        disabledReason={disabledReason}
        spellCheck={false}
        value={typeof value === 'string' ? value : ''}
        onChange={(event) => scope.set(name, nullable && event.target.value === '' ? null : event.target.value)}
        error={scope.errorOf(name)}
      />
    </div>
  )
}

/** A list of texts, one in each line. */
export function LinesInput({ scope, name, label, hint, disabledReason }: Plain) {
  const value = scope.get(name)
  const lines = Array.isArray(value) ? value.map(String) : []
  return (
    <div id={fieldId(scope, name)} tabIndex={-1}>
      <TextArea
        mono
        label={label}
        hint={hint}
        disabledReason={disabledReason}
        // Lines are split when the field is left: while typing, an empty last line is part of the text.
        key={lines.join('\n')}
        defaultValue={lines.join('\n')}
        onBlur={(event) => {
          const next = event.target.value.split('\n').filter((line) => line.trim() !== '')
          if (next.join('\n') !== lines.join('\n')) scope.set(name, next)
        }}
        error={
          scope.errorOf(name) ?? lines.map((_, n) => scope.errorOf(`${name}.${n}`)).find((found) => found !== undefined)
        }
      />
    </div>
  )
}

/** On or off without a family of its own. */
export function FlagInput({ scope, name, label, hint, disabledReason }: Plain) {
  const error = scope.errorOf(name)
  return (
    <div id={fieldId(scope, name)} tabIndex={-1}>
      <Checkbox
        label={label}
        hint={hint}
        disabledReason={disabledReason ?? null}
        checked={scope.get(name) === true}
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

/** A group of fields that is there or not: the switch makes it with `initial`, or takes it away. */
export function PartField({
  scope,
  name,
  label,
  hint,
  initial,
  disabledReason,
  children,
}: Plain & { readonly initial: object; readonly children: (part: FieldScope) => ReactNode }) {
  const value = scope.get(name)
  const isOn = typeof value === 'object' && value !== null
  const error = scope.errorOf(name)
  return (
    <div id={fieldId(scope, name)} tabIndex={-1} className="flex min-w-0 flex-col gap-2">
      <Checkbox
        label={label}
        hint={hint}
        disabledReason={isOn ? null : (disabledReason ?? null)}
        checked={isOn}
        onChange={(event) => scope.set(name, event.target.checked ? initial : null)}
      />
      {error && (
        <p role="alert" className="text-crashed text-sm">
          {error}
        </p>
      )}
      {isOn && <div className="flex min-w-0 flex-col gap-3 ps-6">{children(partScope(scope, name))}</div>}
    </div>
  )
}

/** Rows that can be added and removed, side by side. */
export function RowList({
  rows,
  addLabel,
  onAdd,
  addReason,
}: {
  readonly rows: readonly {
    readonly key: string
    readonly name: string
    readonly onRemove: () => void
    readonly fields: ReactNode
  }[]
  readonly addLabel: string
  readonly onAdd: () => void
  readonly addReason?: string | null
}) {
  const t = useT(deviceForms)
  return (
    <div className="flex min-w-0 flex-col gap-2">
      {rows.length > 0 && (
        <ul className="flex flex-col gap-2">
          {rows.map((row) => (
            <li key={row.key} className="flex items-start gap-2">
              <div className="grid min-w-0 flex-1 gap-2 @md:grid-cols-2 @xl:grid-cols-3">{row.fields}</div>
              <IconButton size="sm" label={t('removeNamed', { name: row.name })} onClick={row.onRemove}>
                <Trash2 size={14} aria-hidden="true" />
              </IconButton>
            </li>
          ))}
        </ul>
      )}
      <div>
        <Button size="sm" icon={<Plus size={14} aria-hidden="true" />} disabledReason={addReason} onClick={onAdd}>
          {addLabel}
        </Button>
      </div>
    </div>
  )
}

/** Fields side by side where there is room for it. */
export const Columns = ({ children }: { readonly children: ReactNode }) => (
  <div className="grid min-w-0 gap-3 @md:grid-cols-2">{children}</div>
)
