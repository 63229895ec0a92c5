'use client'
import { useQuery } from '@tanstack/react-query'
import { Undo2 } from 'lucide-react'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { kindOfProperty, refusedProperty, refusedSetting } from '#lib/devices/property-rules.ts'
import { properties as messages } from '#lib/i18n/messages/en/properties.ts'
import type { DeviceProperty } from '#lib/schema/host.ts'

type PropertyValue = boolean | number | string
export type PropertyValues = Readonly<Record<string, PropertyValue>>

export interface PropertiesEditorProps {
  /** The device in the definition: `disk0`. */
  readonly deviceId: string
  /** QEMU's type behind it (`driverOf`): `virtio-blk-pci`. */
  readonly driver: string
  /** What is set; the rest is QEMU's default. */
  readonly value: PropertyValues
  /** Gets all that is set then; empty when nothing is. */
  readonly onChange: (next: PropertyValues) => void
  /** What the API refused, by dotted field: `properties.disk0.queue-size`. */
  readonly errorOf?: ((field: string) => string | undefined) | undefined
  /** Why nothing can be changed now. */
  readonly disabledReason?: string | null | undefined
}

/** So many rows are drawn at first, and with each press for more; network cards have about a hundred properties. */
const PAGE = 40

/**
 * Everything the installed QEMU lets one set on a device: name, type, default and range as it lists them. Those the
 * definition manages itself, or that reach out of the guest, are shown on demand with the reason.
 */
export function PropertiesEditor(props: PropertiesEditorProps) {
  const { data, error, refetch } = useQuery(queries.deviceType(props.driver))
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  if (!data)
    return (
      <div className="flex flex-col gap-2">
        <Skeleton className="h-8 w-64" />
        <Skeleton className="h-48 w-full" />
      </div>
    )
  return <Editor {...props} known={data.properties} />
}

type EditorProps = PropertiesEditorProps & { readonly known: readonly DeviceProperty[] }

function Editor({ known, ...props }: EditorProps) {
  const t = useT(messages)
  const [filter, setFilter] = useState('')
  const [onlySet, setOnlySet] = useState(false)
  const [managed, setManaged] = useState(false)
  const [limit, setLimit] = useState(PAGE)
  const refused = known.filter((property) => refusedSetting(property) !== null)
  const wanted = filter.trim().toLowerCase()
  const matching = known
    .filter(({ name, description }) => `${name} ${description ?? ''}`.toLowerCase().includes(wanted))
    .filter((property) => property.name in props.value || (!onlySet && (managed || !refused.includes(property))))
    // What is set comes first: it is what one looks for.
    .sort((a, b) => rank(a, props.value) - rank(b, props.value) || a.name.localeCompare(b.name, 'en'))
  const strangers = Object.keys(props.value).filter((name) => !known.some((property) => property.name === name))
  const shown = matching.slice(0, limit)
  return (
    <div className="flex min-w-0 flex-col gap-3">
      <p className="text-dim text-sm">{t('hint')}</p>
      <div className="flex flex-wrap items-end gap-x-4 gap-y-2">
        <TextField
          label={t('filter')}
          type="search"
          value={filter}
          onChange={(event) => {
            setFilter(event.target.value)
            setLimit(PAGE)
          }}
          className="w-64 max-w-full"
        />
        <span className="flex flex-wrap gap-x-4 gap-y-1 pb-1">
          <Checkbox label={t('onlySet')} checked={onlySet} onChange={(event) => setOnlySet(event.target.checked)} />
          <Checkbox
            label={t('showManaged', { count: refused.length })}
            checked={managed}
            onChange={(event) => setManaged(event.target.checked)}
          />
        </span>
        <span className="figures ms-auto pb-1 text-faint text-sm" role="status">
          {t('count', { shown: matching.length, total: known.length })}
        </span>
      </div>
      {shown.length + strangers.length === 0 ? (
        <p className="text-faint">{wanted === '' ? t('nothingSet') : t('nothing', { filter: filter.trim() })}</p>
      ) : (
        <Table {...props} known={known} rows={shown} strangers={strangers} />
      )}
      {matching.length > limit && (
        <Button className="self-start" onClick={() => setLimit(limit + PAGE)}>
          {t('more', { count: Math.min(PAGE, matching.length - limit) })}
        </Button>
      )}
    </div>
  )
}

const rank = (property: DeviceProperty, value: PropertyValues): number => (property.name in value ? 0 : 1)

interface TableProps extends EditorProps {
  readonly rows: readonly DeviceProperty[]
  /** Names that are set and that this QEMU does not know. */
  readonly strangers: readonly string[]
}

/** Where there is no room for columns, a line below the name says what they would. */
const WIDE_CELL = 'hidden border-line border-b px-2 py-1.5 text-start align-top @3xl:table-cell'
const CELL = 'border-line border-b px-2 py-1.5 text-start align-top first:ps-0 last:pe-0'

function Table({ rows, strangers, ...props }: TableProps) {
  const t = useT(messages)
  return (
    <section
      // Positioned, so that labels for screen readers alone scroll along instead of widening the page.
      className="@container relative overflow-x-auto"
      aria-label={t('of', { id: props.deviceId, driver: props.driver })}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
      tabIndex={0}
    >
      <table className="w-full border-collapse text-sm">
        <thead className="text-faint">
          <tr>
            {(['name', 'type', 'initial', 'range', 'value'] as const).map((column) => (
              <th
                key={column}
                scope="col"
                className={`${column === 'name' || column === 'value' ? CELL : WIDE_CELL} font-medium`}
              >
                {t(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {strangers.map((name) => (
            <Stranger key={name} name={name} {...props} />
          ))}
          {rows.map((property) => (
            <Row key={property.name} property={property} {...props} />
          ))}
        </tbody>
      </table>
    </section>
  )
}

const without = (value: PropertyValues, name: string): PropertyValues => {
  const { [name]: _, ...rest } = value
  return rest
}

/** Set once, for a QEMU that had it. */
function Stranger({ name, ...props }: EditorProps & { readonly name: string }) {
  const t = useT(messages)
  return (
    <tr>
      <th scope="row" className={`${CELL} font-mono font-normal`}>
        <span className="break-words">{name}</span>
        <span className="block font-sans text-crashed">{t('unknown')}</span>
      </th>
      <td className={WIDE_CELL} colSpan={3} />
      <td className={CELL}>
        <span className="flex items-center gap-1">
          <code className="font-mono">{String(props.value[name])}</code>
          <Unset name={name} {...props} />
        </span>
      </td>
    </tr>
  )
}

function Unset({ name, value, onChange, disabledReason }: EditorProps & { readonly name: string }) {
  const t = useT(messages)
  return (
    <IconButton
      size="sm"
      label={t('unset', { name })}
      disabledReason={disabledReason}
      onClick={() => onChange(without(value, name))}
    >
      <Undo2 size={14} aria-hidden="true" />
    </IconButton>
  )
}

function Row({ property, ...props }: EditorProps & { readonly property: DeviceProperty }) {
  const t = useT(messages)
  const refused = refusedSetting(property)
  const { name, type, description, default: initial } = property
  const isTold = initial !== null && initial !== ''
  return (
    <tr>
      <th scope="row" className={`${CELL} max-w-64 font-normal`}>
        <span className="break-words font-mono text-ink">{name}</span>
        {description && <span className="block text-faint">{description}</span>}
        <span className="figures block break-words text-faint @3xl:hidden">
          {type}
          {isTold && ` · ${t('useDefaultValue', { value: String(initial) })}`} · <Range property={property} />
        </span>
      </th>
      <td className={`${WIDE_CELL} font-mono text-dim`}>{type}</td>
      <td className={`${WIDE_CELL} figures font-mono text-dim`}>
        {isTold ? String(initial) : <span className="font-sans text-faint">{t('unknownDefault')}</span>}
      </td>
      <td className={`${WIDE_CELL} figures text-dim`}>
        <Range property={property} />
      </td>
      <td className={`${CELL} w-48 @3xl:w-60`}>
        {refused === null ? (
          <span className="flex items-start gap-1">
            <Control property={property} {...props} />
            {name in props.value && <Unset name={name} {...props} />}
          </span>
        ) : (
          <span className="text-faint">
            {refused}
            {name in props.value && <Unset name={name} {...props} />}
          </span>
        )}
      </td>
    </tr>
  )
}

function Range({ property: { values, min, max, type } }: { readonly property: DeviceProperty }) {
  const t = useT(messages)
  const locale = useLocale()
  if (values !== null) return <span className="break-words font-mono">{values.join(' | ')}</span>
  if (min !== null && max !== null) {
    // JSON carries no larger numbers exactly, so no larger ones are taken.
    const number = (value: number) =>
      Math.max(Math.min(value, Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER).toLocaleString(locale)
    return t('fromTo', { min: number(min), max: number(max) })
  }
  return type === 'bool' ? <span className="font-mono">true | false</span> : type === 'str' ? t('anyText') : null
}

/** One control per kind; each can go back to QEMU's default. */
function Control({ property, ...props }: EditorProps & { readonly property: DeviceProperty }) {
  const t = useT(messages)
  const { name } = property
  const { deviceId, value, onChange, errorOf, disabledReason, known } = props
  const current = value[name]
  const set = (next: PropertyValue | undefined) =>
    onChange(next === undefined ? without(value, name) : { ...value, [name]: next })
  const chrome = {
    label: t('valueOf', { name }),
    hideLabel: true,
    disabledReason,
    error:
      errorOf?.(`properties.${deviceId}.${name}`) ??
      (current === undefined ? undefined : (refusedProperty(name, current, known) ?? undefined)),
    className: 'min-w-0 flex-1',
  }
  const initial = property.default === null || property.default === '' ? null : String(property.default)
  const automatic = {
    value: '',
    label: initial === null ? t('useDefault') : t('useDefaultValue', { value: initial }),
  }
  switch (kindOfProperty(property)) {
    case 'choice':
      return (
        <Select
          {...chrome}
          value={current === undefined ? '' : String(current)}
          options={[automatic, ...(property.values ?? []).map((one) => ({ value: one, label: one }))]}
          onChange={(event) => set(event.target.value === '' ? undefined : event.target.value)}
        />
      )
    case 'switch':
      return (
        <Select
          {...chrome}
          value={current === undefined ? '' : String(current)}
          options={[automatic, { value: 'true', label: t('yes') }, { value: 'false', label: t('no') }]}
          onChange={(event) => set(event.target.value === '' ? undefined : event.target.value === 'true')}
        />
      )
    case 'number':
      return (
        <NumberField
          {...chrome}
          value={typeof current === 'number' ? current : null}
          placeholder={initial ?? undefined}
          onValue={(next) => set(next ?? undefined)}
        />
      )
    default:
      return (
        <TextField
          {...chrome}
          mono
          maxLength={64}
          value={current === undefined ? '' : String(current)}
          placeholder={initial ?? undefined}
          onChange={(event) => set(event.target.value === '' ? undefined : event.target.value)}
        />
      )
  }
}
