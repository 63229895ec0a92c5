import { describe, expect, it } from 'vitest'
import type { CommandLine, CommandOption } from '#lib/schema/command-line.ts'
import { goneFrom, groupOptions, markAgainst, matches } from './command-line-groups.ts'

const option = (group: string, ...argv: string[]): CommandOption => ({
  argv,
  group,
  what: `What ${argv[0]} does.`,
  why: 'Because.',
  origin: 'default',
  field: null,
  changed: false,
})
const line = (options: CommandOption[], wrapper: CommandOption[] = []): CommandLine => ({
  binary: '/usr/bin/qemu',
  qemuVersion: '7.2.22',
  wrapper,
  options,
  shell: '',
  applies: 'next',
  accelerator: { requested: 'auto', actual: 'tcg', observed: false, reason: '' },
  warnings: [],
})

describe('groupOptions', () => {
  it('keeps the order of first appearance and gathers what belongs together', () => {
    const grouped = groupOptions(
      line(
        [option('disk0', '-blockdev', 'a'), option('cpu', '-cpu', 'max'), option('disk0', '-device', 'b')],
        [option('process', 'setpriv')],
      ),
    )
    expect(grouped.map((group) => [group.id, group.options.length])).toEqual([
      ['wrapper', 1],
      ['disk0', 2],
      ['cpu', 1],
    ])
  })
})

describe('matches', () => {
  it('finds every word anywhere in the option, its group and its explanation', () => {
    const found = option('disk0', '-device', '{"driver":"virtio-blk-pci"}')
    expect(matches(found, '')).toBe(true)
    expect(matches(found, 'VIRTIO disk0')).toBe(true)
    expect(matches(found, 'because')).toBe(true)
    expect(matches(found, 'virtio nothing')).toBe(false)
  })
})

describe('markAgainst', () => {
  it('marks what the other does not have, and only that', () => {
    const base = line([option('cpu', '-cpu', 'max'), option('memory', '-m', '1024M')])
    const next = line([option('cpu', '-cpu', 'max'), option('memory', '-m', '2048M'), option('rng', '-device', 'x')])
    expect(markAgainst(next, base).options.map((o) => o.changed)).toEqual([false, true, true])
    expect(markAgainst(base, base).options.some((o) => o.changed)).toBe(false)
  })
  it('does not confuse one argument with two', () => {
    const base = line([option('a', '-x', 'y z')])
    expect(markAgainst(line([option('a', '-x', 'y', 'z')]), base).options[0]?.changed).toBe(true)
  })
})

describe('goneFrom', () => {
  it('lists what only the other has, in its order', () => {
    const base = line([option('a', '-a'), option('b', '-b')], [option('process', 'setpriv')])
    expect(goneFrom(line([option('b', '-b')]), base).map((o) => o.argv[0])).toEqual(['setpriv', '-a'])
    expect(goneFrom(base, base)).toEqual([])
  })
})
