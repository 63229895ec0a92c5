import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { mayOpen } from './launch-facts.ts'

const dir = mkdtempSync(join(tmpdir(), 'gd-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const file = join(dir, 'device')
writeFileSync(file, '')
const { uid, gid } = statSync(file)
const stranger = { uid: uid + 1, gid: gid + 1, groups: [] }

describe('a device of the host', () => {
  it.each([
    [0o600, stranger, false],
    [0o660, stranger, false],
    [0o664, stranger, false],
    [0o666, stranger, true],
    [0o660, { ...stranger, groups: [gid] }, true],
    [0o660, { ...stranger, gid }, true],
    [0o606, { ...stranger, groups: [gid] }, false],
    [0o600, { ...stranger, uid }, true],
    [0o066, { ...stranger, uid }, false],
  ])('of mode %o is open to its user, its group or everybody, in this order', (mode, user, isOpen) => {
    chmodSync(file, mode)
    expect(mayOpen(file, user)).toBe(isOpen)
  })

  it('that is not there is open to nobody', () => {
    expect(mayOpen(join(dir, 'none'), null)).toBe(false)
    expect(mayOpen(join(dir, 'none'), stranger)).toBe(false)
    chmodSync(file, 0o600)
    expect(mayOpen(file, null)).toBe(true)
  })
})
