import { expect, test } from 'vitest'
import { isImageBeingWritten, lockOwner, parseLocks, splitDevice } from './proc-locks.ts'

/** Captured from Linux 6 while QEMU 7.2 held a disk image (…391) and its pidfile (…395). */
const TABLE = `1: OFDLCK ADVISORY  READ -1 fe:00:2187391 203 203
2: OFDLCK ADVISORY  READ -1 fe:00:2187391 201 201
3: OFDLCK ADVISORY  READ -1 fe:00:2187391 103 103
4: OFDLCK ADVISORY  READ -1 fe:00:2187391 100 101
5: POSIX  ADVISORY  WRITE 15361 fe:00:2187395 0 EOF
5: -> POSIX  ADVISORY  WRITE 15400 fe:00:2187395 0 EOF
6: FLOCK  ADVISORY  WRITE 812 00:1a:77 0 EOF
nonsense
`
const locks = parseLocks(TABLE)
const DEV = 0xfe00

test('every lock is read, waiting requests and nonsense are not', () => {
  expect(locks).toHaveLength(6)
  expect(locks[4]).toEqual({
    kind: 'POSIX',
    access: 'WRITE',
    pid: 15361,
    major: 0xfe,
    minor: 0,
    inode: 2187395,
    start: 0,
    end: Number.POSITIVE_INFINITY,
  })
})
test('the owner of a pidfile is the process that holds its lock', () => {
  expect(lockOwner(locks, { dev: DEV, ino: 2187395 })).toBe(15361)
  expect(lockOwner(locks, { dev: DEV, ino: 2187391 })).toBeNull()
  expect(lockOwner(locks, { dev: 0xfe01, ino: 2187395 })).toBeNull()
})
test('an image that a QEMU may write to is in use, one that is only read is not', () => {
  expect(isImageBeingWritten(locks, { dev: DEV, ino: 2187391 })).toBe(true)
  const reader = parseLocks('1: OFDLCK ADVISORY  READ -1 fe:00:5 100 100\n2: OFDLCK ADVISORY  READ -1 fe:00:5 201 201')
  expect(isImageBeingWritten(reader, { dev: DEV, ino: 5 })).toBe(false)
})
test('device numbers are split as the C library does', () => {
  expect(splitDevice(0xfe00)).toEqual({ major: 0xfe, minor: 0 })
  expect(splitDevice(0x10_3f_05)).toEqual({ major: 0x3f, minor: 0x105 })
})
