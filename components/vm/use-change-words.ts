'use client'
import { useCallback } from 'react'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { FAMILIES, type FamilyId, familyOf } from '#lib/devices/catalogue.ts'
import { formatMiB } from '#lib/i18n/format.ts'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { devicesPage } from '#lib/i18n/messages/en/devices-page.ts'
import type { PendingChange } from '#lib/schema/vm-state.ts'
import { same } from '#lib/vm/same.ts'
import { useWords } from './fields/use-words.ts'

type Json = PendingChange['live']

export interface ChangeWords {
  /** What it is about: the device's id, or the name of the setting. */
  readonly name: string
  readonly kind: 'added' | 'removed' | 'changed'
  /** What of it differs; empty for what is added or removed. */
  readonly parts: readonly { readonly label: string; readonly from: string; readonly to: string }[]
}

const LABELS = Object.entries(deviceForms.messages.field).flatMap(([key, text]) => (text.includes('{') ? [] : [key]))
/** Fields whose label in the forms has another key. */
const OTHER_LABELS: Readonly<Record<string, string>> = {
  'virtioMem.sizeMiB': 'virtioMemSize',
  'virtioMem.requestedMiB': 'virtioMemRequested',
  clockOffsetSeconds: 'clockOffset',
}

/** Field of the definition → the families it is one of: `disks[].cache` → cache. */
const FAMILY_OF = new Map<string, FamilyId>()
for (const id of Object.keys(FAMILIES) as FamilyId[])
  for (const field of familyOf(id).fields) if (!FAMILY_OF.has(field)) FAMILY_OF.set(field, id)

const isObject = (value: unknown): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Leaves of two values that differ, by dotted path. */
function leaves(path: string, live: Json, next: Json): { path: string; live: Json; next: Json }[] {
  if (same(live, next)) return []
  if (!isObject(live) || !isObject(next)) return [{ path, live, next }]
  return [...new Set([...Object.keys(live), ...Object.keys(next)])].flatMap((key) =>
    leaves(path === '' ? key : `${path}.${key}`, live[key] ?? null, next[key] ?? null),
  )
}

/** A difference between guest and definition in the words of the catalogue of devices. */
export function useChangeWords(): (change: Pick<PendingChange, 'path' | 'live' | 'next'>) => ChangeWords {
  const t = useT(devicesPage)
  // Labels below take no values.
  const forms = useT(deviceForms) as unknown as (key: string) => string
  const words = useWords()
  const locale = useLocale()
  return useCallback(
    ({ path, live, next }) => {
      const [, field = '', step, ...deeper] = path.split('/')
      const device = isObject(next) ? next : isObject(live) ? live : null
      const isDevice = step !== undefined && field !== 'properties'
      const value = (family: FamilyId | undefined, key: string, shown: Json): string => {
        if (shown === null) return t('editor.none')
        if (typeof shown === 'boolean') return t(shown ? 'editor.yes' : 'editor.no')
        if (typeof shown === 'number') return key.endsWith('MiB') ? formatMiB(shown, locale) : String(shown)
        if (typeof shown !== 'string') return JSON.stringify(shown)
        return (family && words(family).choices?.[shown]?.name) || shown || '“”'
      }
      const label = (family: FamilyId | undefined, key: string) => {
        const leaf = key.split('.').at(-1) ?? key
        const named = LABELS.find((known) => known === (OTHER_LABELS[key] ?? leaf.replace(/MiB$/, '')))
        // A family of one field is named by itself; of several, the field tells more.
        const isMain = family !== undefined && familyOf(family).fields[0] === key
        if (named !== undefined && !isMain) return forms(`field.${named}`)
        if (family === undefined) return leaf
        return isMain || familyOf(family).fields.length === 1 ? words(family).name : `${words(family).name} (${leaf})`
      }
      const partsOf = (prefix: string, a: Json, b: Json) =>
        leaves(prefix, a, b).map((leaf) => {
          const family = leaf.path === 'disks[].bus' && device?.device === 'cdrom' ? 'cdBus' : FAMILY_OF.get(leaf.path)
          return {
            label: label(family, leaf.path),
            from: value(family, leaf.path, leaf.live),
            to: value(family, leaf.path, leaf.next),
          }
        })
      if (isDevice) {
        const id = device?.id
        const name = typeof id === 'string' ? id : `${field} ${step}`
        if (live === null) return { name, kind: 'added', parts: [] }
        if (next === null && deeper.length === 0) return { name, kind: 'removed', parts: [] }
        return { name, kind: 'changed', parts: partsOf([`${field}[]`, ...deeper].join('.'), live, next) }
      }
      const parts = partsOf(field === 'properties' ? '' : field, live, next)
      // One thing of a family is called what its field is called.
      if (field !== 'properties' && parts.length === 1 && parts[0])
        return { name: parts[0].label, kind: 'changed', parts }
      const family = FAMILY_OF.get(field) ?? [...FAMILY_OF].find(([known]) => known.startsWith(`${field}.`))?.[1]
      return {
        name: field === 'properties' ? (step ?? field) : family === undefined ? field : words(family).name,
        kind: 'changed',
        parts,
      }
    },
    [t, forms, words, locale],
  )
}
