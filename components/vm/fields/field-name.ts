'use client'
import { useCallback } from 'react'
import { useT } from '#lib/client/i18n.tsx'
import { vm as messages } from '#lib/i18n/messages/en/vm.ts'

const FIELDS = Object.keys(messages.messages.field) as (keyof typeof messages.messages.field)[]

/** What people call a field, from its dotted path or JSON pointer: `disks.0.image` → "Disks". */
export function useFieldName(): (path: string) => string {
  const t = useT(messages)
  return useCallback(
    (path) => {
      const [first = ''] = path.split(/[./]/).filter(Boolean)
      const known = FIELDS.find((field) => field === first)
      return known === undefined ? first : t(`field.${known}`)
    },
    [t],
  )
}
