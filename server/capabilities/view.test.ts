import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CapabilitiesView } from '#lib/schema/host.ts'
import { listOffers, type OfferFacts } from '#server/host/offers.ts'
import type { QemuCapabilities } from './types.ts'
import { knownProperties, viewCapabilities } from './view.ts'

function fixture(version: string): QemuCapabilities {
  return JSON.parse(readFileSync(new URL(`__fixtures__/qemu-${version}.json`, import.meta.url), 'utf8'))
}

const FULL: OfferFacts = {
  manager: 'apt',
  isRoot: true,
  kernel: (['kvm', 'tun', 'vhost-net', 'vhost-vsock', 'vfio'] as const).map((id) => ({
    id,
    path: `/dev/${id}`,
    present: true,
    opens: true,
    purpose: '',
    detail: '',
    command: null,
  })),
  iommu: { enabled: true, reason: 'on' },
  hasUsb: true,
}

function view(version: string, auto: 'kvm' | 'tcg', facts: OfferFacts = FULL) {
  return viewCapabilities(fixture(version), auto, listOffers(fixture(version), facts))
}

describe.each(['7.2', '10.0', '11.1'])('the view of QEMU %s', (version) => {
  test('is what the contract says, under either accelerator', () => {
    for (const auto of ['kvm', 'tcg'] as const) {
      expect(CapabilitiesView.safeParse(view(version, auto)).error).toBeUndefined()
    }
  })

  test('has the q35 machine of its version and the devices a VM is made of', () => {
    const shown = view(version, 'tcg')
    expect(shown.machines.map((machine) => machine.name)).toContain(`pc-q35-${version}`)
    expect(shown.devices).toEqual(expect.arrayContaining(['virtio-blk-pci', 'virtio-net-pci', 'virtio-vga', 'ide-cd']))
    expect(shown.firmware).toEqual({ bios: true, uefi: true, secureBoot: true, microvm: true })
  })

  test('says what a CPU model lacks under the accelerator that auto takes', () => {
    const host = (auto: 'kvm' | 'tcg') => view(version, auto).cpuModels.find((m) => m.name === 'host')
    expect(host('tcg')?.missing).toContain('kvm')
    expect(host('kvm')?.missing).not.toContain('kvm')
  })

  test('on a complete host lacks nothing but the Windows drivers, which Debian does not package', () => {
    const missing = Object.entries(view(version, 'tcg').offers).filter(([, offer]) => !offer.available)
    expect(missing.map(([name]) => name)).toEqual(['virtioWin'])
  })

  test('knows the properties of devices, mainboards and the CPU, and of nothing by accident', () => {
    const names = (type: string) => knownProperties(fixture(version), type)?.map((property) => property.name)
    expect(names('virtio-blk-pci')).toContain('num-queues')
    expect(names('q35')).toContain('smm')
    expect(names('cpu')).toContain('migratable')
    expect([names('constructor'), names('__proto__'), names('i2c-echo')]).toEqual([undefined, undefined, undefined])
  })
})

test('taking a CPU away is offered under KVM alone', () => {
  const offered = (version: string, auto: 'kvm' | 'tcg') => view(version, auto).features.cpuUnplug
  expect([offered('7.2', 'kvm'), offered('11.1', 'kvm'), offered('7.2', 'tcg'), offered('11.1', 'tcg')]).toEqual([
    true,
    true,
    false,
    false,
  ])
})

describe('what this host cannot give', () => {
  const bare: QemuCapabilities = {
    ...fixture('7.2'),
    secureBoot: null,
    tools: { swtpm: null, swtpmSetup: null, virtiofsd: null, ip: null, tc: null, taskset: null },
  }
  const offers = listOffers(bare, {
    manager: 'apt',
    isRoot: false,
    kernel: [],
    iommu: { enabled: false, reason: 'The firmware offers none.' },
    hasUsb: false,
  })

  test('comes with the reason and the command that brings it', () => {
    expect(offers.tpm).toEqual({
      available: false,
      reason: expect.stringContaining('swtpm'),
      packages: ['swtpm', 'swtpm-tools'],
      command: 'sudo apt-get install -y --no-install-recommends swtpm swtpm-tools',
    })
    expect(offers.virtiofs.packages).toEqual(['virtiofsd'])
    expect(offers.secureBoot.packages).toEqual(['ovmf'])
    expect(offers.pciPassthrough).toMatchObject({
      available: false,
      reason: 'The firmware offers none.',
      command: null,
    })
    expect(offers.usbPassthrough.available).toBe(false)
    expect(offers.vsock).toMatchObject({ available: false, command: null })
  })

  test('is no matter of packages where QEMU itself was built without it', () => {
    const types = bare.types.filter((type) => type !== 'tpm-crb')
    expect(listOffers({ ...bare, types }, FULL).tpm).toMatchObject({ packages: [], command: null })
  })
})
