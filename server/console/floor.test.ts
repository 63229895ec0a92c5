import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ConsoleWish } from '#lib/schema/console.ts'
import { createFloor, type Participant } from './floor.ts'

const ADA: Participant = { id: 'ada', name: 'ada', mayControl: true, manages: true }
const BOB: Participant = { id: 'bob', name: 'bob', mayControl: true, manages: false }
const CAL: Participant = { id: 'cal', name: 'cal', mayControl: true, manages: false }
const EVE: Participant = { id: 'eve', name: 'eve', mayControl: false, manages: false }
const ALL = [ADA, BOB, CAL, EVE]
const find = (id: string) => ALL.find((one) => one.id === id) ?? null

function made() {
  const floor = createFloor()
  let atMs = 0
  const wish = (by: Participant, what: object) => floor.apply(what as ConsoleWish, by, find, ++atMs)
  const typists = () => ALL.filter((one) => floor.mayType(one)).map(({ id }) => id)
  return { floor, wish, typists }
}

describe('control of a console', () => {
  test('is shared by all who may control until somebody wants it alone, and again once it is given up', () => {
    const { wish, typists } = made()
    expect(typists()).toEqual(['ada', 'bob', 'cal'])
    expect(wish(BOB, { do: 'hold' })).toBeNull()
    expect(typists()).toEqual(['bob'])
    expect(wish(BOB, { do: 'release' })).toBeNull()
    expect(typists()).toEqual(['ada', 'bob', 'cal'])
  })

  test('is not had by who only may watch, neither by taking, asking nor being given it', () => {
    const { floor, wish, typists } = made()
    for (const what of ['hold', 'take', 'ask']) expect(wish(EVE, { do: what })).toMatch(/watch/)
    wish(BOB, { do: 'hold' })
    expect(wish(BOB, { do: 'give', to: 'eve' })).toMatch(/eve may watch/)
    expect(wish(EVE, { do: 'release' })).not.toBeNull()
    expect(floor.holder).toBe('bob')
    expect(typists()).toEqual(['bob'])
  })

  test('is asked for and handed over, and those who still ask stay known', () => {
    const { floor, wish } = made()
    wish(BOB, { do: 'hold' })
    expect(wish(CAL, { do: 'hold' })).toBe('bob has control. Ask for it.')
    wish(CAL, { do: 'ask' })
    wish(ADA, { do: 'ask' })
    const asked = floor.askedAtMs('cal')
    wish(CAL, { do: 'ask' })
    expect(floor.askedAtMs('cal')).toBe(asked)
    expect(wish(CAL, { do: 'give', to: 'cal' })).not.toBeNull()
    expect(wish(BOB, { do: 'give', to: 'cal' })).toBeNull()
    expect(floor.holder).toBe('cal')
    expect(floor.askedAtMs('cal')).toBeNull()
    expect(floor.askedAtMs('ada')).not.toBeNull()
    wish(CAL, { do: 'decline', to: 'ada' })
    expect(floor.askedAtMs('ada')).toBeNull()
  })

  test('is taken back by who manages the console, and by nobody else', () => {
    const { floor, wish } = made()
    wish(BOB, { do: 'hold' })
    expect(wish(CAL, { do: 'take' })).not.toBeNull()
    expect(wish(ADA, { do: 'take' })).toBeNull()
    expect(floor.holder).toBe('ada')
    expect(wish(BOB, { do: 'release' })).not.toBeNull()
    expect(wish(ADA, { do: 'give', to: 'gone' })).toMatch(/left/)
  })

  test('is shared again when who had it leaves, and what was asked of them is void', () => {
    const { floor, wish, typists } = made()
    wish(BOB, { do: 'hold' })
    wish(CAL, { do: 'ask' })
    expect(floor.leave('bob')).toBe(true)
    expect(typists()).toEqual(['ada', 'bob', 'cal'])
    expect(floor.askedAtMs('cal')).toBeNull()
    expect(floor.leave('eve')).toBe(false)
  })

  test('whatever is wished in whatever order: who types may control, and a holder types alone', () => {
    const wishes = fc.record({
      by: fc.constantFrom(...ALL),
      do: fc.constantFrom('hold', 'release', 'ask', 'withdraw', 'take', 'give', 'decline', 'leave'),
      to: fc.constantFrom('ada', 'bob', 'cal', 'eve', 'gone'),
    })
    fc.assert(
      fc.property(fc.array(wishes, { maxLength: 40 }), (list) => {
        const { floor, wish, typists } = made()
        for (const { by, to, ...what } of list) {
          const before = floor.holder
          if (what.do === 'leave') floor.leave(by.id)
          else wish(by, what.do === 'give' || what.do === 'decline' ? { ...what, to } : what)
          if (before !== null && floor.holder !== before) expect(by.id === before || by.manages).toBe(true)
          expect(typists()).toEqual(floor.holder === null ? ['ada', 'bob', 'cal'] : [floor.holder])
          if (floor.holder !== null) expect(floor.askedAtMs(floor.holder)).toBeNull()
        }
      }),
    )
  })
})
