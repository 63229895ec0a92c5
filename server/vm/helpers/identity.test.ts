import { expect, test } from 'vitest'
import { option } from '../testing/lab.ts'
import { isCommandOf } from './identity.ts'

const program = ['/usr/lib/qemu/virtiofsd', '-f', '--socket-path=/run/v/fs2.sock', '-o', 'source=/srv']
const helper = { socket: '/run/v/fs2.sock', option: option(['/usr/bin/unshare', '--user', '--', ...program]) }

test('a helper is known by its command line at every step of its start, and nothing else is taken for it', () => {
  expect(
    isCommandOf(
      ['/usr/bin/setpriv', '--reuid=7', '--', '/bin/sh', '-c', 'exec "$@"', 'sh', ...helper.option.argv],
      helper,
    ),
  ).toBe(true)
  expect(isCommandOf(helper.option.argv, helper)).toBe(true)
  expect(isCommandOf(program, helper)).toBe(true)
  expect(isCommandOf(['source=/srv'], helper)).toBe(false)
  expect(isCommandOf([...program, '--more'], helper)).toBe(false)
  expect(
    isCommandOf(
      program.map((word) => word.replace('fs2', 'fs3')),
      helper,
    ),
  ).toBe(false)
  expect(isCommandOf(['grep', '/run/v/fs2.sock'], helper)).toBe(false)
  expect(isCommandOf([], helper)).toBe(false)
})
