import { describe, expect, it } from 'vitest'
import { haltRom } from './halt-rom.ts'

describe('the halting firmware', () => {
  it('is a whole 64 KiB and halts at the reset vector with interrupts off', () => {
    const rom = haltRom()
    expect(rom.length).toBe(65_536)
    expect([...rom.subarray(0xfff0, 0xfff4)]).toEqual([0xfa, 0xf4, 0xeb, 0xfd])
  })

  it('jumps back to its hlt', () => {
    const rom = haltRom()
    const jump = rom.readInt8(0xfff3)
    expect(0xfff4 + jump).toBe(0xfff1)
    expect(rom[0xfff1]).toBe(0xf4)
  })
})
