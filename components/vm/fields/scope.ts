/** One device, or the VM itself, as a set of named fields: what the generic controls read and write. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { same } from '#lib/vm/same.ts'
import { type DeviceRow, type Fields, type RowList, rowsOf, type ScalarDraft } from '../spec-draft.ts'
import { effectiveCard, effectiveDrive, type SpecForm, shownValue } from './form.ts'
import { withCardField, withDriveField, withRowField } from './rows.ts'

export interface FieldScope {
  readonly form: SpecForm
  /** Dotted path the API knows it by: `disks.0`; empty for the VM itself. */
  readonly path: string
  /** What was chosen, or what it defaults to; undefined while neither is known. */
  readonly get: (name: string) => unknown
  /** `undefined` takes the choice back. */
  readonly set: (name: string, value: unknown) => void
  readonly errorOf: (name: string) => string | undefined
}

const join = (path: string, name: string) => (path === '' ? name : `${path}.${name}`)

/** `value`, or undefined when it is what is stored: then it is no change. */
function unlessStored(stored: unknown, name: string, value: unknown): unknown {
  const before = typeof stored === 'object' && stored !== null ? (stored as Fields)[name] : undefined
  return before !== undefined && same(before, value) ? undefined : value
}

/** The VM's own fields. */
export function vmScope(form: SpecForm): FieldScope {
  return {
    form,
    path: '',
    get: (name) => shownValue(form, name as keyof ScalarDraft) ?? undefined,
    // Controls name fields of the schema; the API parses what they send.
    set: (name, value) => form.setScalar(name as keyof ScalarDraft, value as never),
    errorOf: form.errorOf,
  }
}

export function driveScope(form: SpecForm, index: number): FieldScope {
  const path = `disks.${index}`
  const row = form.draft.drives[index]
  const stored = effectiveDrive(form, index)
  return {
    form,
    path,
    get: (name) => {
      if (row === undefined) return undefined
      if (name === 'image' || name === 'device') return row[name]
      if (name === 'sizeGiB' && row.sizeGiB !== undefined) return row.sizeGiB
      if (row.more !== undefined && name in row.more) return row.more[name]
      return stored === null ? undefined : (stored as unknown as Fields)[name]
    },
    set: (name, value) =>
      form.update((draft) => ({
        ...draft,
        drives: draft.drives.map((drive, n) =>
          n !== index
            ? drive
            : {
                ...drive,
                // A suggestion that was touched has become a choice.
                origin: drive.origin === 'auto' ? 'own' : drive.origin,
                more: withDriveField(
                  drive.more ?? {},
                  name,
                  unlessStored(drive.id === undefined ? null : stored, name, value),
                ),
              },
        ),
      })),
    errorOf: (name) => form.errorOf(join(path, name)),
  }
}

export function cardScope(form: SpecForm, index: number): FieldScope {
  const path = `networks.${index}`
  const row = form.draft.cards[index]
  const stored = effectiveCard(form, index)
  return {
    form,
    path,
    get: (name) => {
      if (row === undefined) return undefined
      if (name === 'mac' || name === 'restrict') return row[name]
      if (row.more !== undefined && name in row.more) return row.more[name]
      return stored === null ? undefined : (stored as unknown as Fields)[name]
    },
    set: (name, value) =>
      form.update((draft) => ({
        ...draft,
        cards: draft.cards.map((card, n) =>
          n !== index
            ? card
            : name === 'mac' || name === 'restrict'
              ? { ...card, [name]: value }
              : {
                  ...card,
                  more: withCardField(
                    card.more ?? {},
                    name,
                    unlessStored(card.id === undefined ? null : stored, name, value),
                  ),
                },
        ),
      })),
    errorOf: (name) => form.errorOf(join(path, name)),
  }
}

/** A row of one of the other lists. */
export function rowScope(form: SpecForm, list: RowList, index: number): FieldScope {
  const path = `${list}.${index}`
  const row = rowsOf(form.draft, list)[index]
  const stored = row === undefined ? undefined : storedRow(form.effective, list, row, index)
  return {
    form,
    path,
    get: (name) => (row !== undefined && name in row.fields ? row.fields[name] : stored?.[name]),
    set: (name, value) =>
      updateRows(form, list, (rows) =>
        rows.map((entry, n) =>
          n === index ? { ...entry, fields: withRowField(list, entry.fields, name, value) } : entry,
        ),
      ),
    errorOf: (name) => form.errorOf(join(path, name)),
  }
}

/** What makes a device another one: an answer about the former kind says nothing of the new. */
const KIND_FIELDS = ['type', 'bus', 'device', 'driver']

/** The complete device of a row: by its id, or by its place while it is of the same kind. */
function storedRow(spec: VmSpec | null, list: RowList, row: DeviceRow, index: number): Fields | undefined {
  const devices = (spec?.[list] ?? []) as unknown as readonly Fields[]
  if (typeof row.fields.id === 'string') return devices.find((device) => device.id === row.fields.id)
  const device = devices[index]
  return KIND_FIELDS.every((name) => row.fields[name] === undefined || row.fields[name] === device?.[name])
    ? device
    : undefined
}

export function updateRows(
  form: SpecForm,
  list: RowList,
  change: (rows: readonly DeviceRow[]) => readonly DeviceRow[],
): void {
  form.update((draft) => ({ ...draft, lists: { ...draft.lists, [list]: change(rowsOf(draft, list)) } }))
}

/** The fields of an object within a scope, such as the limits of a disk. */
export function partScope(scope: FieldScope, part: string): FieldScope {
  const value = scope.get(part)
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Fields
  return {
    form: scope.form,
    path: join(scope.path, part),
    get: (name) => fields[name],
    set: (name, next) => scope.set(part, { ...fields, [name]: next }),
    errorOf: (name) => scope.errorOf(`${part}.${name}`),
  }
}

/** A field that is a list of objects: its rows as scopes, and how to add and remove. */
export function listField(scope: FieldScope, name: string) {
  const value = scope.get(name)
  const rows = Array.isArray(value) ? (value as readonly Fields[]) : []
  return {
    rows: rows.map((fields, index): FieldScope & { readonly remove: () => void } => ({
      form: scope.form,
      path: join(scope.path, `${name}.${index}`),
      get: (field) => fields[field],
      set: (field, next) =>
        scope.set(
          name,
          rows.map((row, n) => (n === index ? { ...row, [field]: next } : row)),
        ),
      errorOf: (field) => scope.errorOf(`${name}.${index}.${field}`),
      remove: () =>
        scope.set(
          name,
          rows.filter((_, n) => n !== index),
        ),
    })),
    add: (fields: Fields) => scope.set(name, [...rows, fields]),
  }
}

/** The guest kind the draft leads to, for recommendations. */
export const guestOf = (form: SpecForm): VmSpec['guest'] => shownValue(form, 'guest') ?? 'other'

/** The mainboard family the draft leads to. */
export function boardOf(form: SpecForm): 'q35' | 'pc' | 'microvm' {
  const machine = shownValue(form, 'machine') ?? ''
  return machine === 'microvm' ? 'microvm' : machine.startsWith('pc-i440fx-') ? 'pc' : 'q35'
}
