'use client'
import { type KeyboardEvent, useRef } from 'react'
import { Time } from '#components/text/time.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { cx } from '#components/ui/cx.ts'
import { MarkIcon } from '#components/ui/state-mark.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { snapshots as messages } from '#lib/i18n/messages/en/snapshots.ts'
import type { Snapshot } from '#lib/schema/snapshot.ts'
import { snapshotTree, type TreeNode } from '#lib/snapshots/tree.ts'

type Node = TreeNode<Snapshot>

const flat = (nodes: readonly Node[]): Node[] => nodes.flatMap((node) => [node, ...flat(node.children)])

/** ARIA tree: one stop in the tab order, arrow keys within (WAI-ARIA Authoring Practices, Tree View). */
export function SnapshotTree({
  items,
  current,
  shown,
  onShow,
}: {
  readonly items: readonly Snapshot[]
  readonly current: string | null
  readonly shown: string
  readonly onShow: (id: string) => void
}) {
  const t = useT(messages)
  const ref = useRef<HTMLDivElement>(null)
  const roots = snapshotTree(items, current)
  const order = flat(roots)
  const go = (id: string | undefined) => {
    if (id === undefined) return
    onShow(id)
    ref.current?.querySelector<HTMLElement>(`[data-snapshot="${id}"]`)?.focus()
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const at = order.findIndex(({ item }) => item.id === shown)
    const here = order[at]
    const to: Record<string, string | undefined> = {
      ArrowDown: order[at + 1]?.item.id,
      ArrowUp: order[at - 1]?.item.id,
      ArrowRight: here?.children[0]?.item.id,
      ArrowLeft: here?.item.parent ?? undefined,
      Home: order[0]?.item.id,
      End: order.at(-1)?.item.id,
    }
    if (!(event.key in to)) return
    event.preventDefault()
    go(to[event.key])
  }
  const branch = (nodes: readonly Node[], level: number) =>
    nodes.map(({ item, children, isCurrent, isOnPath }, index) => (
      // The item takes the focus; its row is what is seen of it.
      <div
        key={item.id}
        role="treeitem"
        aria-level={level}
        aria-posinset={index + 1}
        aria-setsize={nodes.length}
        aria-selected={item.id === shown}
        {...(children.length > 0 && { 'aria-expanded': true })}
        aria-labelledby={`snapshot-${item.id}`}
        data-snapshot={item.id}
        tabIndex={item.id === shown ? 0 : -1}
        onClick={(event) => {
          event.stopPropagation()
          go(item.id)
        }}
        onKeyDown={undefined}
        className="group outline-none"
      >
        <div
          id={`snapshot-${item.id}`}
          className={cx(
            'touch flex cursor-pointer flex-wrap items-center gap-x-3 gap-y-1 rounded-md border px-3 py-2 hover:bg-hover group-focus-visible:outline-2 group-focus-visible:outline-focus',
            item.id === shown ? 'border-accent bg-selected' : 'border-line',
          )}
        >
          <MarkIcon
            mark={item.state === 'complete' ? 'running' : item.state === 'creating' ? 'changing' : 'attention'}
          />
          <span className={cx('min-w-0 break-words font-medium', !isOnPath && 'text-dim')}>{item.name}</span>
          <span className="text-faint text-sm">
            <Time at={item.createdAt} />
          </span>
          <span className="text-faint text-sm">{t(`kind.${item.kind}`)}</span>
          {item.state !== 'complete' && <Badge>{t(`state.${item.state}`)}</Badge>}
          {isCurrent && <Badge tone="accent">{t('here')}</Badge>}
        </div>
        {children.length > 0 && (
          // biome-ignore lint/a11y/useSemanticElements: children of a tree item are a group
          <div role="group" className="mt-2 ms-4 flex flex-col gap-2 border-line border-s ps-3">
            {branch(children, level + 1)}
          </div>
        )}
      </div>
    ))
  return (
    <div
      ref={ref}
      role="tree"
      aria-label={t('tree')}
      onKeyDown={onKeyDown}
      className="flex min-w-0 flex-col gap-2 self-start"
    >
      {branch(roots, 1)}
    </div>
  )
}
