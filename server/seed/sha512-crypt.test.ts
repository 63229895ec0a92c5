import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PasswordHash } from '#lib/schema/seed.ts'
import { hashGuestPassword, sha512Crypt } from './sha512-crypt.ts'

describe('SHA-512 crypt', () => {
  it('gives what the specification says', () => {
    expect(sha512Crypt('Hello world!', 'saltstringsaltstring', 10_000)).toBe(
      '$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.',
    )
  })

  it('gives what openssl gives, whatever the password', () => {
    const salt = fc.stringMatching(/^[./A-Za-z0-9]{1,16}$/)
    const password = fc.oneof(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 }),
      fc.stringMatching(/^[ -~]{63,66}$/),
      fc.stringMatching(/^[ -~]{126,130}$/),
    )
    fc.assert(
      fc.property(
        password.filter((text) => !/[\0\n\r]/.test(text)),
        salt,
        (clear, pepper) => {
          const theirs = execFileSync('openssl', ['passwd', '-6', '-salt', pepper, '-stdin'], { input: `${clear}\n` })
          expect(sha512Crypt(clear, pepper)).toBe(theirs.toString().trim())
        },
      ),
      { numRuns: 25 },
    )
  })

  it('has another salt each time, and a form that systems take', () => {
    const [one, other] = [hashGuestPassword('secret'), hashGuestPassword('secret')]
    expect(one).not.toBe(other)
    expect(PasswordHash.safeParse(one).success).toBe(true)
    expect(one).toMatch(/^\$6\$rounds=10000\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}$/)
  })
})
