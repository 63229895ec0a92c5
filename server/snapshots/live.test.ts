import { describe, expect, test } from 'vitest'
import { formatNodeOf } from '#server/vm/block/find-node.ts'
import { type BlockNode, memoryBytesOf, overlayNode } from './live.ts'

const node = (name: string, drv: string, file: string): BlockNode => ({ 'node-name': name, drv, file, ro: false })

describe('the node that gives a file its format', () => {
  const nodes = [
    node('disk0.0f', 'file', '/d/a.qcow2'),
    node('disk0.0', 'qcow2', 'json:{"driver":"qcow2"}'),
    node('pflash1.f', 'file', '/d/nvram.qcow2'),
    node('pflash1', 'qcow2', '/d/nvram.qcow2'),
    node('disk1.s1a2b3c4df', 'file', '/d/o.qcow2'),
    node('disk1.s1a2b3c4d', 'qcow2', '/d/o.qcow2'),
    node('#block123', 'file', '/d/alien'),
  ]

  test('is never the file itself, whatever QEMU calls the format node’s own file', () => {
    expect(formatNodeOf(nodes, '/d/a.qcow2')).toBe('disk0.0')
    expect(formatNodeOf(nodes, '/d/nvram.qcow2')).toBe('pflash1')
    expect(formatNodeOf(nodes, '/d/o.qcow2')).toBe('disk1.s1a2b3c4d')
  })

  test('is none for a file that is not open, or was opened by another hand', () => {
    expect(formatNodeOf(nodes, '/d/none')).toBeNull()
    expect(formatNodeOf(nodes, '/d/alien')).toBeNull()
  })
})

test('names of overlay nodes fit into what QEMU takes, with their file node', () => {
  const name = `${overlayNode('a-device-with-a-long-id', '01890000-0000-7000-8000-0123456789ab')}f`
  expect(Buffer.byteLength(name)).toBeLessThanOrEqual(31)
})

test('the memory of a snapshot is found in whichever file holds it', () => {
  const holds = (name: string, size: number) => ({
    ...node('d', 'qcow2', '/d'),
    image: { snapshots: [{ name, 'vm-state-size': size }] },
  })
  expect(memoryBytesOf([holds('gd-1', 0), holds('gd-1', 70), holds('gd-2', 9)], 'gd-1')).toBe(70)
  expect(memoryBytesOf([holds('gd-2', 9)], 'gd-1')).toBeNull()
})
