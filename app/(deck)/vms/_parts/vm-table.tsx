'use client'
import { useWindowVirtualizer } from '@tanstack/react-virtual'
import { ArrowDown, ArrowUp } from 'lucide-react'
import { type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from 'react'
import { Checkbox } from '#components/ui/choice.tsx'
import { cx } from '#components/ui/cx.ts'
import { Skeleton } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { vms as messages } from '#lib/i18n/messages/en/vms.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import type { VmColumn } from '#lib/vm/sort.ts'
import { COLUMN_CLASS } from './column-class.ts'
import { VmRow } from './vm-row.tsx'

const ROW_PX = 36
const PHONE_ROW_PX = 56
const LOADING_ROWS = 12

const phone = '(max-width: 767px)'
const subscribePhone = (listener: () => void) => {
  const query = matchMedia(phone)
  query.addEventListener('change', listener)
  return () => query.removeEventListener('change', listener)
}
const useIsPhone = () =>
  useSyncExternalStore(
    subscribePhone,
    () => matchMedia(phone).matches,
    () => false,
  )

export interface VmTableProps {
  readonly vms: readonly Vm[]
  readonly loading: boolean
  readonly columns: readonly VmColumn[]
  readonly sort: VmColumn
  readonly descending: boolean
  readonly onSort: (column: VmColumn, descending: boolean) => void
  readonly selected: ReadonlySet<string>
  readonly onSelected: (selected: ReadonlySet<string>) => void
  /** What can be done with the selected, in place of the columns' names while some are. */
  readonly bulk: ReactNode
}

/**
 * The VMs as a table of which only the rows in sight exist. Arrow keys, Home and End move between rows, Enter opens
 * (the row's link has the focus), `x` selects, Shift with a click selects up to here.
 */
export function VmTable({ vms, loading, columns, sort, descending, onSort, selected, onSelected, bulk }: VmTableProps) {
  const t = useT(messages)
  const rowPx = useIsPhone() ? PHONE_ROW_PX : ROW_PX
  const body = useRef<HTMLTableSectionElement>(null)
  const [offset, setOffset] = useState(0)
  const [wanted, setWanted] = useState<string | null>(null)
  const anchor = useRef<string | null>(null)
  useLayoutEffect(() => {
    const top = body.current?.getBoundingClientRect().top
    if (top !== undefined) setOffset(top + scrollY)
  }, [])
  const virtualizer = useWindowVirtualizer({
    count: vms.length,
    estimateSize: () => rowPx,
    overscan: 12,
    scrollMargin: offset,
    getItemKey: (index) => vms[index]?.id ?? index,
    // Top bar and table head cover what lies beneath them.
    scrollPaddingStart: 48 + 40,
    // The navigation at the lower edge of a phone.
    scrollPaddingEnd: 64,
  })
  // biome-ignore lint/correctness/useExhaustiveDependencies: rows changed height, not the virtualizer
  useEffect(() => virtualizer.measure(), [rowPx])

  // Focus follows once the row it should go to exists.
  useEffect(() => {
    if (wanted === null) return
    const link = body.current?.querySelector<HTMLElement>(`[data-row-link="${wanted}"]`)
    if (!link) return
    link.focus({ preventScroll: true })
    setWanted(null)
  })

  const order = useRef({ vms, selected })
  order.current = { vms, selected }
  const select = useCallback(
    (id: string, upToHere: boolean) => {
      const { vms: list, selected: before } = order.current
      const next = new Set(before)
      const from = upToHere ? list.findIndex((vm) => vm.id === anchor.current) : -1
      const to = list.findIndex((vm) => vm.id === id)
      if (from >= 0) for (const vm of list.slice(Math.min(from, to), Math.max(from, to) + 1)) next.add(vm.id)
      else if (!next.delete(id)) next.add(id)
      anchor.current = id
      onSelected(next)
    },
    [onSelected],
  )

  const onKeyDown = (event: React.KeyboardEvent) => {
    const row = (event.target as Element).closest<HTMLElement>('tr[data-id]')
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return
    const at = vms.findIndex((vm) => vm.id === row.dataset.id)
    const go = (index: number) => {
      const target = vms[Math.max(0, Math.min(vms.length - 1, index))]
      if (!target) return
      event.preventDefault()
      virtualizer.scrollToIndex(vms.indexOf(target))
      setWanted(target.id)
    }
    if (event.key === 'ArrowDown') go(at + 1)
    else if (event.key === 'ArrowUp') go(at - 1)
    else if (event.key === 'Home') go(0)
    else if (event.key === 'End') go(vms.length - 1)
    else if (event.key === 'x' && row.dataset.id) {
      event.preventDefault()
      select(row.dataset.id, false)
    }
  }

  const items = virtualizer.getVirtualItems()
  const before = items[0] ? items[0].start - offset : 0
  const last = items.at(-1)
  const after = last ? virtualizer.getTotalSize() - (last.end - offset) : 0
  const all = vms.length > 0 && vms.every((vm) => selected.has(vm.id))
  const some = !all && vms.some((vm) => selected.has(vm.id))
  // One cell, not one across all columns: hidden columns would count again and squeeze the rest.
  const spacer = (height: number) =>
    height > 0 && (
      <tr>
        <td aria-hidden="true" style={{ height, padding: 0 }} />
      </tr>
    )

  return (
    <table aria-rowcount={vms.length + 1} aria-busy={loading} onKeyDown={onKeyDown} className="w-full table-fixed">
      <thead className="sticky top-12 z-10 bg-canvas text-dim text-sm shadow-[inset_0_-1px_0_var(--color-line)]">
        <tr className="h-9 max-md:h-11">
          <th scope="col" className="w-8 ps-1">
            <Checkbox
              label={t('selectAll')}
              hideLabel
              checked={all}
              indeterminate={some}
              onChange={() => onSelected(all ? new Set() : new Set(vms.map((vm) => vm.id)))}
            />
          </th>
          {columns.map((column) => {
            const on = sort === column
            const Arrow = descending ? ArrowDown : ArrowUp
            return (
              <th
                key={column}
                scope="col"
                aria-sort={on ? (descending ? 'descending' : 'ascending') : 'none'}
                className={cx('px-2', COLUMN_CLASS[column])}
              >
                {bulk ? (
                  <span className="sr-only">{t(`column.${column}`)}</span>
                ) : (
                  <button
                    type="button"
                    data-tip={t('sortBy', { column: t(`column.${column}`) })}
                    onClick={() => onSort(column, on ? !descending : false)}
                    className={cx('inline-flex items-center gap-1 rounded-sm hover:text-ink', on && 'text-ink')}
                  >
                    {t(`column.${column}`)}
                    {on && <Arrow size={12} aria-hidden="true" />}
                  </button>
                )}
              </th>
            )
          })}
          <th scope="col" className="w-9 md:w-10">
            <span className="sr-only">{t('column.actions')}</span>
            {bulk && <div className="absolute inset-y-0 start-10 end-0 flex items-center font-normal">{bulk}</div>}
          </th>
        </tr>
      </thead>
      <tbody ref={body}>
        {loading &&
          Array.from({ length: LOADING_ROWS }, (_, row) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity
            <tr key={row} className="h-14 border-line border-b md:h-9">
              <td />
              {columns.map((column) => (
                <td key={column} className={cx('px-2', COLUMN_CLASS[column])}>
                  <Skeleton className={column === 'name' ? 'h-4 w-2/3 max-w-40' : 'h-4 w-2/3'} />
                </td>
              ))}
              <td />
            </tr>
          ))}
        {spacer(before)}
        {items.map((item) => {
          const vm = vms[item.index]
          return (
            vm && (
              <VmRow
                key={vm.id}
                vm={vm}
                index={item.index}
                columns={columns}
                selected={selected.has(vm.id)}
                onSelect={select}
              />
            )
          )
        })}
        {spacer(after)}
      </tbody>
    </table>
  )
}
