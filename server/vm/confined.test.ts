import { expect, test } from 'vitest'
import { EngineError } from '#server/engine/errors.ts'
import { confinementOptions, hiddenFiles } from '#server/spec/devices/confinement.ts'
import type { PlannedOption } from '#server/spec/types.ts'
import { assertWithinReach, innerExit } from './confined.ts'
import { isCommandOf } from './identity.ts'
import { option, specOf } from './testing/lab.ts'

const ID = '0190a000-0000-7000-8000-000000000001'

function wrapperOf(change: Partial<ReturnType<typeof specOf>> = {}): PlannedOption[] {
  const file = (path: string, readOnly: boolean) => ({ path, format: 'qcow2' as const, readOnly })
  return confinementOptions({
    confinement: {
      bwrap: '/usr/bin/bwrap',
      readable: ['/d/images', '/iso'],
      writable: ['/d/layers', `/d/backups/${ID}`],
    },
    spec: { ...specOf(), ...change },
    // Of a launch, only these are looked at.
    paths: { dir: `/r/${ID}`, data: `/d/vms/${ID}` } as Parameters<typeof confinementOptions>[0]['paths'],
    drives: [
      { id: 'disk0', chain: [file(`/d/vms/${ID}/disk0.qcow2`, false), file('/d/images/i', true)] },
      { id: 'disk1', chain: [file('/d/shared/o.s.raw', false), file('/elsewhere/base.raw', true)] },
    ],
    capabilities: { binary: '/opt/qemu/bin/qemu-system-x86_64', uefi: null, secureBoot: null } as Parameters<
      typeof confinementOptions
    >[0]['capabilities'],
  })
}
const bindsOf = (wrapper: PlannedOption[], how: string) => {
  const argv = wrapper[0]?.argv ?? []
  return argv.flatMap((word, at) => (word === how ? [argv[at + 1]] : []))
}

test('a locked-in QEMU is shown its own directories and files, once each, and of the rest nothing to write', () => {
  const wrapper = wrapperOf()
  expect(bindsOf(wrapper, '--bind-try').sort()).toEqual(
    [`/d/backups/${ID}`, '/d/layers', '/d/shared/o.s.raw', `/d/vms/${ID}`, `/r/${ID}`].sort(),
  )
  const read = bindsOf(wrapper, '--ro-bind-try')
  expect(read).toEqual(expect.arrayContaining(['/usr', '/d/images', '/iso', '/elsewhere/base.raw', '/opt/qemu']))
  expect(read).not.toContain('/d/images/i')
  for (const path of ['/d', '/', '/home', '/etc', '/proc', '/sys']) expect(read).not.toContain(path)
})

test('what it does not see is known beforehand; without bubblewrap nothing is hidden', () => {
  const files = [
    `/d/vms/${ID}/disk7.qcow2`,
    '/d/layers/x.qcow2',
    '/d/state.db',
    '/d/vms/other/disk0.qcow2',
    '/d/layersx',
  ]
  expect(hiddenFiles(wrapperOf(), files)).toEqual(['/d/state.db', '/d/vms/other/disk0.qcow2', '/d/layersx'])
  expect(hiddenFiles([option(['/bin/sh', '-c', 'x'])], files)).toEqual([])
})

test('a change it could not carry out is refused with what to do, whatever depth the file is named at', () => {
  const plan = { wrapper: wrapperOf() }
  const node = (filename: string) => ({ driver: 'qcow2', file: { driver: 'file', filename } })
  expect(() => assertWithinReach(plan, 'blockdev-add', node('/d/shared/o.t.raw'))).toThrow(EngineError)
  expect(() => assertWithinReach(plan, 'blockdev-add', node('/d/layers/y.qcow2'))).not.toThrow()
  // Started without a card, it has no network.
  expect(() => assertWithinReach(plan, 'netdev_add', { type: 'user', id: 'net0' })).toThrow(/without a network/)
  expect(() => assertWithinReach(null, 'netdev_add', {})).not.toThrow()
})

test('bubblewrap that waits for QEMU is never taken for it, and its exit code tells the signal that ended QEMU', () => {
  const qemu = ['/usr/bin/qemu-system-x86_64', '-uuid', ID]
  expect(isCommandOf(qemu, ID)).toBe(true)
  expect(isCommandOf(['/bin/sh', '-c', 'exec "$@"', 'sh', ...qemu], ID)).toBe(true)
  expect(isCommandOf(['/usr/bin/bwrap', '--dev', '/dev', '--', ...qemu], ID)).toBe(false)
  expect(innerExit({ code: 137, signal: null })).toEqual({ code: null, signal: 'SIGKILL' })
  expect(innerExit({ code: 1, signal: null })).toEqual({ code: 1, signal: null })
  expect(innerExit({ code: null, signal: 'SIGTERM' })).toEqual({ code: null, signal: 'SIGTERM' })
})
