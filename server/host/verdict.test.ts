import { describe, expect, test } from 'vitest'
import { AcceleratorVerdict } from '#lib/schema/host.ts'
import { type AcceleratorFacts, decideAccelerator, type GuestRun, judgeAccelerator } from './verdict.ts'

const NOW = '2026-01-02T03:04:05.000Z'

/** A desktop on which everything works. */
const WORKING: AcceleratorFacts = {
  cpu: { vendor: 'Intel', vmx: true, svm: false, hypervisor: false },
  virtualization: { vm: null, container: null },
  kvmModules: ['kvm', 'kvm_intel'],
  device: { present: true, isCharacterDevice: true, mode: 0o660, owner: 'root', group: 'kvm' },
  opens: { ok: true, user: 'guestdeck', error: null },
  qemu: { hasKvm: true, version: '7.2.22' },
  guest: { outcome: 'ran', ms: 71.4 },
}
const NO_KVM: Partial<AcceleratorFacts> = { kvmModules: [], device: { present: false }, opens: null, guest: null }

function judge(change: Partial<AcceleratorFacts>, policy: 'auto' | 'kvm' | 'tcg' = 'auto') {
  const verdict = judgeAccelerator({ ...WORKING, ...change }, policy, NOW)
  const step = (id: string) => verdict.evidence.find((entry) => entry.id === id)
  return { verdict, step }
}

describe('the verdict', () => {
  test('is usable only when guest code ran', () => {
    const { verdict, step } = judge({})
    expect(verdict).toMatchObject({ kvm: 'usable', auto: 'kvm', probeMs: 71, checkedAt: NOW, policy: 'auto' })
    expect(verdict.evidence.every((entry) => entry.state === 'ok' && entry.advice === '')).toBe(true)
    expect(step('cpu-flags')?.seen).toContain('vmx')
  })

  test.each<[string, GuestRun, RegExp]>([
    [
      'KVM stops the guest',
      { outcome: 'stopped', ms: 50, said: 'KVM internal error. Suberror: 1' },
      /internal error.*Suberror: 1/,
    ],
    [
      'QEMU dies',
      { outcome: 'ended', ms: 30, how: 'signal SIGABRT', said: 'failed to set MSR 0x10a' },
      /SIGABRT.*MSR 0x10a/,
    ],
    ['the guest computes wrongly', { outcome: 'wrong', ms: 40 }, /arithmetic/],
    ['nothing happens in time', { outcome: 'timeout', ms: 900 }, /had not finished after 900 ms/],
  ])('is unusable when the device opens but %s', (_why, guest, seen) => {
    const { verdict, step } = judge({ guest })
    expect(verdict).toMatchObject({ kvm: 'unusable', auto: 'tcg' })
    expect(step('guest-code')).toMatchObject({ state: 'failed', seen: expect.stringMatching(seen) })
    expect(step('guest-code')?.advice).not.toBe('')
    expect(step('kvm-device')?.state).toBe('ok')
  })

  test('of a paravirtual KVM in a virtual machine is unusable and says where to mend it', () => {
    const { verdict, step } = judge({
      cpu: { vendor: 'AMD', vmx: false, svm: false, hypervisor: true },
      virtualization: { vm: 'QEMU/KVM', container: 'docker' },
      kvmModules: ['kvm', 'kvm_pvm'],
      device: { present: true, isCharacterDevice: true, mode: 0o600, owner: 'root', group: 'root' },
      guest: { outcome: 'stopped', ms: 45, said: 'KVM internal error. Suberror: 1' },
    })
    expect(verdict.kvm).toBe('unusable')
    expect(step('cpu-flags')).toMatchObject({ state: 'failed', advice: expect.stringContaining('nested') })
    expect(step('kvm-module')).toMatchObject({ state: 'ok', seen: 'Present: kvm, kvm_pvm.' })
    expect(step('guest-code')?.advice).toContain('QEMU/KVM')
  })

  test('is absent without the device; the advice fits what the CPU and the surroundings are', () => {
    expect(judge(NO_KVM).verdict).toMatchObject({ kvm: 'absent', auto: 'tcg', probeMs: null })
    expect(judge(NO_KVM).step('kvm-module')?.advice).toContain('modprobe kvm_intel')
    const amd = { vendor: 'AMD', vmx: false, svm: true, hypervisor: false }
    expect(judge({ ...NO_KVM, cpu: amd }).step('kvm-module')?.advice).toContain('modprobe kvm_amd')
    const bare = { vendor: 'Intel', vmx: false, svm: false, hypervisor: false }
    expect(judge({ ...NO_KVM, cpu: bare }).step('cpu-flags')?.advice).toContain('firmware setup')
    const inDocker = { virtualization: { vm: null, container: 'docker' } }
    expect(judge({ ...NO_KVM, ...inDocker }).step('kvm-device')?.advice).toContain('--device /dev/kvm')
  })

  test('is absent when QEMU was built without it', () => {
    const { verdict, step } = judge({ qemu: { hasKvm: false, version: '8.0.0' }, guest: null })
    expect(verdict.kvm).toBe('absent')
    expect(step('qemu-kvm')?.state).toBe('failed')
  })

  test('is denied when permission is all that is missing', () => {
    const opens = { ok: false, user: 'jane', error: 'permission denied' }
    const { verdict, step } = judge({ opens, guest: null })
    expect(verdict).toMatchObject({ kvm: 'denied', auto: 'tcg' })
    expect(step('kvm-permission')?.advice).toContain('usermod -aG kvm jane')
    expect(judge({ opens }).verdict.kvm).toBe('denied')
    const rootOnly = { present: true, isCharacterDevice: true, mode: 0o600, owner: 'root', group: 'root' } as const
    expect(judge({ opens, device: rootOnly }).step('kvm-permission')?.advice).toContain('chmod 660')
  })

  test('is unusable, not denied, when permission would not help either', () => {
    const opens = { ok: false, user: 'nobody', error: 'permission denied' }
    expect(judge({ opens, guest: { outcome: 'stopped', ms: 40, said: '' } }).verdict.kvm).toBe('unusable')
  })

  test('without QEMU is no promise', () => {
    const { verdict, step } = judge({ qemu: null, guest: null })
    expect(verdict).toMatchObject({ kvm: 'unusable', auto: 'tcg' })
    expect(step('guest-code')?.state).toBe('skipped')
  })

  test('always has the six steps in order and the shape of the contract', () => {
    for (const change of [{}, NO_KVM, { qemu: null, guest: null }]) {
      const { verdict } = judge(change)
      expect(verdict.evidence.map((entry) => entry.id)).toEqual([
        'cpu-flags',
        'kvm-module',
        'kvm-device',
        'kvm-permission',
        'qemu-kvm',
        'guest-code',
      ])
      expect(AcceleratorVerdict.safeParse(verdict).error).toBeUndefined()
    }
  })
})

describe('what a VM runs on', () => {
  const broken: Partial<AcceleratorFacts> = { guest: { outcome: 'stopped', ms: 45, said: 'Suberror: 1' } }

  test('auto takes KVM where it works', () => {
    expect(decideAccelerator('auto', judge({}).verdict)).toMatchObject({ kind: 'kvm' })
  })

  test('auto takes TCG elsewhere and says what was seen', () => {
    expect(decideAccelerator('auto', judge(broken).verdict)).toMatchObject({
      kind: 'tcg',
      reason: expect.stringMatching(/KVM stopped a small guest/),
    })
    expect(decideAccelerator('auto', judge(NO_KVM).verdict)).toMatchObject({
      kind: 'tcg',
      reason: expect.stringMatching(/no \/dev\/kvm/),
    })
  })

  test('a VM set to KVM is refused where KVM cannot run it, never put on TCG in silence', () => {
    for (const change of [broken, NO_KVM, { opens: { ok: false, user: 'jane', error: null } }]) {
      for (const policy of ['auto', 'kvm', 'tcg'] as const) {
        expect(decideAccelerator('kvm', judge(change, policy).verdict)).toMatchObject({ refused: true })
      }
    }
    expect(decideAccelerator('kvm', judge({}).verdict)).toMatchObject({ kind: 'kvm' })
  })

  test('a VM set to TCG gets it everywhere', () => {
    for (const change of [{}, broken, NO_KVM]) {
      expect(decideAccelerator('tcg', judge(change).verdict)).toMatchObject({ kind: 'tcg' })
    }
  })

  test('GUESTDECK_ACCEL=tcg keeps auto off a KVM that works, and says so', () => {
    expect(decideAccelerator('auto', judge({}, 'tcg').verdict)).toMatchObject({
      kind: 'tcg',
      reason: expect.stringContaining('GUESTDECK_ACCEL=tcg'),
    })
  })

  test('GUESTDECK_ACCEL=kvm makes auto refuse rather than fall back', () => {
    expect(decideAccelerator('auto', judge({}, 'kvm').verdict)).toMatchObject({ kind: 'kvm' })
    expect(decideAccelerator('auto', judge(broken, 'kvm').verdict)).toMatchObject({
      refused: true,
      reason: expect.stringContaining('GUESTDECK_ACCEL=kvm'),
    })
  })
})
