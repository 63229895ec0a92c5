'use client'
import { useCallback } from 'react'
import { useT } from '#lib/client/i18n.tsx'
import { deviceForms } from '#lib/i18n/messages/en/device-forms.ts'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'
import { PARTS } from './parts.tsx'

const FIELDS = Object.keys(messages.messages.field) as (keyof typeof messages.messages.field)[]

/**
 * What people call a field, from its dotted path or JSON pointer: `disks.0.image` → "Disks". A field without a name of
 * its own is called by the part of the form it is in.
 */
export function useFieldName(): (path: string) => string {
  const t = useT(messages)
  const words = useT(deviceForms)
  return useCallback(
    (path) => {
      const [first = ''] = path.split(/[./]/).filter(Boolean)
      const known = FIELDS.find((field) => field === first)
      if (known !== undefined) return t(`field.${known}`)
      const part = PARTS.find(({ fields }) => fields.some((field) => field === first))
      return part === undefined ? first : words(`part.${part.id}`)
    },
    [t, words],
  )
}
