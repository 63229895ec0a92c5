import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SnapshotName } from '../schema/snapshot.ts'
import { proposeName, snapshotTree, type TreeNode, withoutSnapshot } from './tree.ts'

interface Item {
  id: string
  parent: string | null
  createdAt: string
}
const item = (id: string, parent: string | null, createdAt = id): Item => ({ id, parent, createdAt })
const shape = (nodes: readonly TreeNode<Item>[]): string =>
  nodes.map(({ item: { id }, children, isCurrent }) => `${id}${isCurrent ? '*' : ''}(${shape(children)})`).join(' ')
const idsIn = (nodes: readonly TreeNode<Item>[]): string[] =>
  nodes.flatMap(({ item: { id }, children }) => [id, ...idsIn(children)])

describe('the tree of snapshots', () => {
  test('hangs each below the one it was taken at, oldest first', () => {
    expect(shape(snapshotTree([item('c', 'a'), item('a', null), item('b', 'a'), item('d', 'b')], 'd'))).toBe(
      'a(b(d*()) c())',
    )
  })

  test('knows the way that led to the present', () => {
    const [a] = snapshotTree([item('a', null), item('b', 'a'), item('c', 'a')], 'c')
    expect(a?.isOnPath).toBe(true)
    expect(a?.children.map(({ isOnPath }) => isOnPath)).toEqual([false, true])
  })

  test('shows one whose parent is missing, and those that lead in a circle', () => {
    expect(shape(snapshotTree([item('b', 'gone')], null))).toBe('b()')
    expect(idsIn(snapshotTree([item('a', 'b'), item('b', 'a'), item('c', 'c')], 'a')).sort()).toEqual(['a', 'b', 'c'])
  })

  test('holds every snapshot exactly once, whatever is stored', () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    const anItem = (id: string) =>
      fc.record({
        id: fc.constant(id),
        parent: fc.option(fc.constantFrom(...ids, 'gone')),
        createdAt: fc.constantFrom('1', '2', '3'),
      })
    fc.assert(
      fc.property(fc.tuple(...ids.map(anItem)), fc.option(fc.constantFrom(...ids)), (items, current) => {
        expect(idsIn(snapshotTree(items, current)).sort()).toEqual(ids)
      }),
    )
  })
})

describe('a snapshot that goes', () => {
  test('hands its children and the present to its parent', () => {
    const items = [item('a', null), item('b', 'a'), item('c', 'b'), item('d', 'b')]
    const { moved, parent, current } = withoutSnapshot(items, 'b', 'b')
    expect(moved.map(({ id }) => id)).toEqual(['c', 'd'])
    expect([parent, current]).toEqual(['a', 'a'])
  })

  test('leaves the present alone when that is elsewhere', () => {
    expect(withoutSnapshot([item('a', null), item('b', 'a')], 'b', 'a').current).toBe('b')
  })
})

describe('names', () => {
  test.each(['1', '007', '', 'a b', 'ä', '../x', 'a/b', 'x'.repeat(65), '<b>', 'a\n', '\x1b[31m'])(
    '%j is refused',
    (name) => {
      expect(SnapshotName.safeParse(name).success).toBe(false)
    },
  )

  test.each(['1a', 'before-upgrade', '2026-11-27', '.', '-', 'x'.repeat(64)])('%j is taken', (name) => {
    expect(SnapshotName.safeParse(name).success).toBe(true)
  })

  test('made of the time are valid and free', () => {
    const at = new Date('2026-11-27T14:05:00Z')
    const first = proposeName(at, new Set())
    expect(first).toBe('2026-11-27_14.05')
    expect(proposeName(at, new Set([first, `${first}-2`]))).toBe(`${first}-3`)
    expect(SnapshotName.safeParse(`${first}-3`).success).toBe(true)
  })
})
