'use client'
import type { FamilyId } from '#lib/devices/catalogue.ts'
import { NumberInput, TextInput } from './plain-fields.tsx'
import type { FieldScope } from './scope.ts'
import { useWords } from './use-words.ts'

/** A number or a text that is a family of its own: named and explained by the catalogue. */
export function FamilyField({
  scope,
  name,
  family,
  number,
  disabledReason = null,
}: {
  readonly scope: FieldScope
  readonly name: string
  readonly family: FamilyId
  /** Left out: a text, empty is null. */
  readonly number?: { readonly min: number; readonly max?: number; readonly unit?: string }
  readonly disabledReason?: string | null
}) {
  const words = useWords()(family)
  const shared = { scope, name, label: words.name, hint: words.what, disabledReason }
  return number === undefined ? <TextInput {...shared} nullable /> : <NumberInput {...shared} {...number} />
}
