import { expect, test } from 'vitest'
import { plainGuestText } from './guest-text.ts'

test('text a guest copies is cut at a mebibyte and has no control characters but line ends and tabs (W11)', () => {
  expect(plainGuestText('<b>a\tb</b>\r\nc\rd\ne 世界 🙂')).toBe('<b>a\tb</b>\nc\nd\ne 世界 🙂')
  expect(plainGuestText('safe\x1b[201~rm -rf ~\x07\0\x7f\x9b31m')).toBe('safe[201~rm -rf ~31m')
  expect(plainGuestText('x'.repeat(10 << 20))).toHaveLength(2 ** 20)
})
