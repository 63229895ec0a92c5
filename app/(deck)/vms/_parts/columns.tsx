'use client'
import { Columns3 } from 'lucide-react'
import { useCallback, useEffect, useState } from 'react'
import { Menu } from '#components/ui/menu.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { recall, remember } from '#lib/client/preferences.ts'
import { vms as messages } from '#lib/i18n/messages/en/vms.ts'
import { isVmColumn, VM_COLUMNS, type VmColumn } from '#lib/vm/sort.ts'

/** State and name say which row it is: they always stay. */
const FIXED: readonly VmColumn[] = ['state', 'name']
const STORAGE_KEY = 'vms.columns'

const parse = (value: unknown): readonly VmColumn[] | null =>
  Array.isArray(value)
    ? VM_COLUMNS.filter((column) => FIXED.includes(column) || value.filter(isVmColumn).includes(column))
    : null

/** The chosen columns in their order, remembered by this browser. */
export function useColumns(): [readonly VmColumn[], (columns: readonly VmColumn[]) => void] {
  const [columns, set] = useState<readonly VmColumn[]>(VM_COLUMNS)
  // Not readable while the server renders.
  useEffect(() => {
    const known = recall(STORAGE_KEY, parse)
    if (known) set(known)
  }, [])
  const choose = useCallback((next: readonly VmColumn[]) => {
    set(next)
    remember(STORAGE_KEY, next)
  }, [])
  return [columns, choose]
}

export function ColumnsMenu({
  columns,
  onColumns,
}: {
  readonly columns: readonly VmColumn[]
  readonly onColumns: (columns: readonly VmColumn[]) => void
}) {
  const t = useT(messages)
  return (
    <Menu
      label={t('columns')}
      iconOnly
      className="max-md:hidden"
      items={VM_COLUMNS.filter((column) => !FIXED.includes(column)).map((column) => ({
        id: column,
        label: t(`column.${column}`),
        checked: columns.includes(column),
        onSelect: () =>
          onColumns(
            VM_COLUMNS.filter((known) => (known === column ? !columns.includes(known) : columns.includes(known))),
          ),
      }))}
    >
      <Columns3 size={16} aria-hidden="true" />
    </Menu>
  )
}
