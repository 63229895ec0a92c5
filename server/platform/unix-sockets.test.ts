import { expect, test } from 'vitest'
import { listsListener } from './unix-sockets.ts'

const TABLE = `Num       RefCount Protocol Flags    Type St Inode Path
000000003691f76b: 00000002 00000000 00010000 0001 01 976334 /run/guestdeck/v/fs2.sock
00000000e218b986: 00000003 00000000 00000000 0001 03 976838 /run/guestdeck/v/tpm.sock
00000000e218b987: 00000002 00000000 00010000 0001 01 976839 /run/with a space.sock
00000000e218b988: 00000003 00000000 00000000 0001 03 976840
`

test('only a socket that accepts connections counts, by its whole path', () => {
  expect(listsListener(TABLE, '/run/guestdeck/v/fs2.sock')).toBe(true)
  expect(listsListener(TABLE, '/run/with a space.sock')).toBe(true)
  expect(listsListener(TABLE, '/run/guestdeck/v/tpm.sock')).toBe(false)
  expect(listsListener(TABLE, '/run/guestdeck/v/fs2')).toBe(false)
  expect(listsListener(TABLE, '')).toBe(false)
})
