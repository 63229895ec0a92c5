import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CapabilitiesView, DeviceType, Host } from '#lib/schema/host.ts'
import { HostDevices } from '#lib/schema/host-devices.ts'
import { createCapabilitiesProbe } from '#server/capabilities/probe.ts'
import { findExecutable } from '#server/platform/child.ts'
import { describeConnection } from '#server/tls/open.ts'
import { checkAccelerator, kvmOpensFor, unprivilegedUser } from './accelerator.ts'
import { runGuestCode } from './guest-code.ts'
import { createHostService } from './host.ts'
import { buildProbeRom } from './probe-rom.ts'

const binary = findExecutable('qemu-system-x86_64') ?? ''
const user = unprivilegedUser()
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gdh-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function readdirOrEmpty(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : []
}

describe('the probe guest', () => {
  test.skipIf(findExecutable('nasm') === null)('is what its source assembles to', () => {
    const out = join(dir, 'probe.rom')
    execFileSync('nasm', ['-f', 'bin', '-o', out, fileURLToPath(new URL('probe.asm', import.meta.url))])
    expect(buildProbeRom().equals(readFileSync(out))).toBe(true)
  })

  test('runs to its end under TCG, as a user without rights', async () => {
    const run = await runGuestCode({ binary, accelerator: 'tcg', user, timeoutMs: 10_000 })
    expect(run.outcome).toBe('ran')
  })

  test('is ended at the deadline and leaves no file behind', async () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('guestdeck-probe-'))
    const run = await runGuestCode({ binary, accelerator: 'tcg', user, timeoutMs: 1 })
    expect(run.outcome).toBe('timeout')
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('guestdeck-probe-'))).toEqual(before)
  })

  test('of a program that is no QEMU did not run', async () => {
    const run = await runGuestCode({ binary: findExecutable('true') ?? '', accelerator: 'kvm', user })
    expect(run.outcome).toBe('ended')
  })
})

describe('the verdict on this machine', () => {
  const check = () => checkAccelerator({ binary, qemu: { hasKvm: true, version: '7.2' }, policy: 'auto', user })

  test('comes within a second and a half and agrees with the CPU', async () => {
    const started = performance.now()
    const verdict = await check()
    expect(performance.now() - started).toBeLessThan(1500)
    expect(verdict.auto === 'kvm').toBe(verdict.kvm === 'usable')
    const guest = verdict.evidence.find((step) => step.id === 'guest-code')
    if (verdict.kvm === 'usable') expect(guest?.state).toBe('ok')
    else expect(verdict.evidence.some((step) => step.state === 'failed' && step.advice !== '')).toBe(true)
  })

  // Where /dev/kvm belongs to a paravirtual KVM it opens and QEMU says "running", but 64-bit guests do not execute.
  test.skipIf(!readdirSync('/sys/module').includes('kvm_pvm') || !kvmOpensFor(null))(
    'is unusable where KVM opens but cannot run a guest',
    async () => {
      const verdict = await check()
      expect(verdict).toMatchObject({ kvm: 'unusable', auto: 'tcg' })
      expect(verdict.evidence.find((step) => step.id === 'guest-code')).toMatchObject({ state: 'failed' })
    },
  )
})

describe('the host service', () => {
  const facts = {
    counts: { vms: 3, running: 1 },
    promised: { cpus: 4, memoryMiB: 2048, diskBytes: 10 },
    isolation: { privileged: false, summary: 'shared' },
  }
  const connection = () =>
    describeConnection({ host: '127.0.0.1', trustedProxies: [], insecureHttp: false }, true, null)
  const service = (program: string) => {
    const capabilities = createCapabilitiesProbe({
      binary: program,
      cacheFile: null,
      user,
      kvmOpens: () => kvmOpensFor(user),
    })
    return createHostService({
      capabilities,
      policy: 'auto',
      user,
      dataDir: dir,
      guestdeckVersion: '1.2.3',
      connection,
    })
  }

  test('answers in the shape of the contract, with what the caller knows', async () => {
    const host = await service(binary).view(facts, { refresh: false })
    expect(Host.safeParse(host).error).toBeUndefined()
    expect(host).toMatchObject({ counts: facts.counts, isolation: facts.isolation, guestdeckVersion: '1.2.3' })
    expect(host.capacity.memory).toMatchObject({ promisedMiB: 2048 })
    expect(host.capacity.memory.totalMiB).toBeGreaterThan(100)
    expect(host.capacity.disk.totalBytes).toBeGreaterThan(host.capacity.disk.freeBytes)
    expect(host.readiness.find((item) => item.id === 'qemu')?.state).toBe('ok')
    expect(host.stack.map((layer) => layer.id)).toEqual(['hardware', 'kvm', 'qemu', 'virtio', 'guestdeck'])
  })

  test('keeps the verdict, asks anew on demand, and tells', async () => {
    const host = service(binary)
    expect(host.verdict()).toBeNull()
    expect(host.decide('auto').kind).toBeNull()
    let changes = 0
    host.onChange(() => {
      changes += 1
    })
    const [a, b] = await Promise.all([host.check(), host.check()])
    expect(a).toBe(b)
    expect((await host.view(facts, { refresh: false })).accelerator).toBe(a)
    expect(changes).toBe(1)
    await host.view(facts, { refresh: true })
    expect(changes).toBe(2)
    expect(host.decide('tcg').kind).toBe('tcg')
    expect(host.decide('auto').kind).toBe(a.auto)
    expect(CapabilitiesView.safeParse(await host.capabilities()).error).toBeUndefined()
  })

  test('lists what this machine has, as the contract wants it', async () => {
    const found = await service(binary).devices({ details: true })
    expect(HostDevices.safeParse(found).error).toBeUndefined()
    expect(found.pci.length).toBe(readdirOrEmpty('/sys/bus/pci/devices').length)
    expect(found.cpus.filter((cpu) => cpu.online).length).toBeGreaterThanOrEqual(availableParallelism())
    expect(found.kernel.find((node) => node.id === 'kvm')?.present).toBe(existsSync('/dev/kvm'))
    expect(found.interfaces.find((card) => card.kind === 'loopback')?.name).toBe('lo')
    expect(found.iommu.enabled).toBe(readdirOrEmpty('/sys/kernel/iommu_groups').length > 0)
    if (!found.iommu.enabled) expect(found.pci.filter((device) => device.assignable)).toEqual([])
  })

  test('tells the properties of a type, known or asked for, and refuses what is no type', async () => {
    const host = service(binary)
    const names = async (type: string) => (await host.deviceType(type)).properties.map((property) => property.name)
    expect(await names('virtio-net-pci')).toContain('mac')
    expect(await names('q35')).toContain('smm')
    // Not among those asked at the start.
    expect(await names('pcie-pci-bridge')).toContain('msi')
    expect(await names('sdhci-pci')).toContain('addr')
    const answer = await host.deviceType('tls-creds-anon')
    expect(DeviceType.safeParse(answer).error).toBeUndefined()
    await expect(host.deviceType('no-such-device')).rejects.toMatchObject({ code: 'not_found' })
    // Its looking-glass ends some builds; whatever it does, it is an answer or a refusal, and the next question works.
    const gl = await host.deviceType('virtio-gpu-gl-pci').catch((error: unknown) => error)
    if (gl instanceof Error) expect(gl).toMatchObject({ code: 'not_found' })
    expect(await names('sdhci-pci')).toContain('addr')
  })

  test('without QEMU still shows the host, what is missing and the command', async () => {
    const host = await service(join(dir, 'no-qemu')).view(facts, { refresh: false })
    expect(Host.safeParse(host).error).toBeUndefined()
    expect(host.readiness.find((item) => item.id === 'qemu')?.state).toBe('missing')
    expect(host.stack.find((layer) => layer.id === 'qemu')?.state).toBe('failed')
    expect(host.accelerator.kvm).not.toBe('usable')
    await expect(service(join(dir, 'no-qemu')).capabilities()).rejects.toMatchObject({ code: 'launch_failed' })
  })
})
