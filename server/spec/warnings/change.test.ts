import { expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, factsFor } from '../test-support.ts'
import { changeWarnings } from './change.ts'

const facts = factsFor(capabilitiesOf('7.2'))
const complete = (spec: object) => normalizeSpec(VmSpecInput.parse({ name: 'demo', ...spec }), facts)
const warned = (before: object, after: object) => changeWarnings(complete(before), complete(after)).join('\n')

it('a change of no consequence says nothing', () => {
  expect(warned({ memoryMiB: 512 }, { memoryMiB: 1024, description: 'x' })).toBe('')
})

it('another machine is said for what it is: newer, older, or another board', () => {
  expect(warned({ machine: 'pc-q35-6.2' }, { machine: 'pc-q35-7.2' })).toMatch(/^The hardware of pc-q35-7\.2/)
  expect(warned({ machine: 'pc-q35-2.12' }, { machine: 'pc-q35-2.4' })).toMatch(/is older than/)
  expect(warned({ machine: 'pc' }, { machine: 'q35' })).toMatch(/another mainboard/)
})

it('firmware, Secure Boot and TPM are what systems depend on', () => {
  expect(warned({ firmware: 'bios' }, { firmware: 'uefi' })).toMatch(/installed with BIOS does not start with UEFI/)
  expect(warned({ firmware: 'uefi' }, { secureBoot: true })).toMatch(/when the UEFI variables are reset/)
  expect(warned({ secureBoot: true }, { firmware: 'uefi' })).toMatch(/any boot loader starts/)
  expect(warned({ tpm: 'tpm-crb' }, {})).toMatch(/cannot open disks/)
})

it('Windows notices another CPU', () => {
  const windows = { guest: 'windows', firmware: 'bios' }
  expect(warned(windows, { ...windows, cpuModel: 'Skylake-Client' })).toMatch(/activation/)
})
