import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { decideFor } from './accelerator-choice.ts'

const GUEST = 2_070_000_001
const kvm = { decide: () => ({ kind: 'kvm' as const, reason: 'KVM works.' }) }

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gd-kvm-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

function device(mode: number, gid = process.getgid?.() ?? 0): string {
  const path = join(dir, 'kvm')
  writeFileSync(path, '')
  if (gid !== process.getgid?.()) chownSync(path, 0, gid)
  chmodSync(path, mode)
  return path
}

it('a device that all may open needs no group', async () => {
  expect(await decideFor(kvm, 'auto', GUEST, device(0o666))).toMatchObject({ kind: 'kvm', kvmGid: null })
})

it.runIf(process.getuid?.() === 0)('a guest gets the group that opens KVM, but never root’s own', async () => {
  expect(await decideFor(kvm, 'auto', GUEST, device(0o660, 108))).toMatchObject({ kind: 'kvm', kvmGid: 108 })
  const ofRoot = device(0o660, 0)
  chownSync(ofRoot, 0, 0)
  expect(await decideFor(kvm, 'auto', GUEST, ofRoot)).toMatchObject({ kind: 'tcg', kvmGid: null })
  const wanted = await decideFor(kvm, 'kvm', GUEST, ofRoot)
  expect(wanted).toMatchObject({ kind: null, kvmGid: null })
  expect(wanted.reason).toContain('chgrp kvm')
})
