import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CapabilitiesView } from '#lib/schema/host.ts'
import type { QemuCapabilities } from './types.ts'
import { viewCapabilities } from './view.ts'

function fixture(version: string): QemuCapabilities {
  return JSON.parse(readFileSync(new URL(`__fixtures__/qemu-${version}.json`, import.meta.url), 'utf8'))
}

describe.each(['7.2', '10.0', '11.1'])('the view of QEMU %s', (version) => {
  test('is what the contract says, under either accelerator', () => {
    for (const auto of ['kvm', 'tcg'] as const) {
      expect(CapabilitiesView.safeParse(viewCapabilities(fixture(version), auto)).error).toBeUndefined()
    }
  })

  test('has the q35 machine of its version and the devices a VM is made of', () => {
    const view = viewCapabilities(fixture(version), 'tcg')
    expect(view.machines.map((machine) => machine.name)).toContain(`pc-q35-${version}`)
    expect(view.devices).toEqual(expect.arrayContaining(['virtio-blk-pci', 'virtio-net-pci', 'virtio-vga', 'ide-cd']))
    expect(view.firmware).toEqual({ bios: true, uefi: true })
  })

  test('says what a CPU model lacks under the accelerator that auto takes', () => {
    const host = (auto: 'kvm' | 'tcg') =>
      viewCapabilities(fixture(version), auto).cpuModels.find((m) => m.name === 'host')
    expect(host('tcg')?.missing).toContain('kvm')
    expect(host('kvm')?.missing).not.toContain('kvm')
  })
})
