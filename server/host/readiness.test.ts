import { describe, expect, test } from 'vitest'
import { ReadinessItem } from '#lib/schema/host.ts'
import type { KernelDevice } from '#lib/schema/host-devices.ts'
import { parseOsRelease } from './inventory.ts'
import { installCommand, packageManager } from './packages.ts'
import { type Finding, listReadiness, type ReadinessFacts } from './readiness.ts'
import { type AcceleratorFacts, judgeAccelerator } from './verdict.ts'

const ok: Finding = { state: 'ok', version: '1.0', detail: 'found' }
const missing: Finding = { state: 'missing', detail: 'not found' }

const KVM: AcceleratorFacts = {
  cpu: { vendor: 'AMD', vmx: false, svm: true, hypervisor: false },
  virtualization: { vm: null, container: null },
  kvmModules: ['kvm', 'kvm_amd'],
  device: { present: true, isCharacterDevice: true, mode: 0o660, owner: 'root', group: 'kvm' },
  opens: { ok: true, user: 'jane', error: null },
  qemu: { hasKvm: true, version: '7.2.22' },
  guest: { outcome: 'ran', ms: 60 },
}
const verdictOf = (change: Partial<AcceleratorFacts> = {}) =>
  judgeAccelerator({ ...KVM, ...change }, 'auto', '2026-01-02T03:04:05.000Z')

const node = (id: KernelDevice['id'], opens: boolean): KernelDevice => ({
  id,
  path: `/dev/${id}`,
  present: opens,
  opens,
  purpose: 'for something',
  detail: opens ? 'there' : 'not there',
  command: opens ? null : `modprobe ${id}`,
})

function list(change: Partial<ReadinessFacts>) {
  const readiness = listReadiness({
    manager: 'apt',
    isRoot: true,
    qemu: ok,
    qemuImg: ok,
    ovmf: ok,
    bundledFirmware: missing,
    swtpm: ok,
    bubblewrap: ok,
    unshare: ok,
    setpriv: ok,
    prlimit: ok,
    virtiofsd: ok,
    ip: ok,
    guestfs: ok,
    kernel: [node('vhost-net', true), node('vhost-vsock', true)],
    iommu: { enabled: true, groups: 12, reason: 'on' },
    verdict: verdictOf(),
    ...change,
  })
  return { ...readiness, item: (id: string) => readiness.items.find((entry) => entry.id === id) }
}

describe('the readiness list', () => {
  test('of a complete host asks for nothing', () => {
    const { items, installCommand: command } = list({})
    expect(command).toBeNull()
    expect(
      items.filter((item) => item.need !== 'pick-one').every((item) => item.state === 'ok' && item.command === null),
    ).toBe(true)
    for (const item of items) expect(ReadinessItem.safeParse(item).error).toBeUndefined()
  })

  test('gives one command for everything that is missing and one per line', () => {
    const { installCommand: command, item } = list({ qemu: missing, qemuImg: missing, swtpm: missing })
    expect(command).toBe('apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils swtpm swtpm-tools')
    expect(item('swtpm')).toMatchObject({
      state: 'missing',
      command: 'apt-get install -y --no-install-recommends swtpm swtpm-tools',
    })
  })

  test.each([
    ['dnf', 'dnf install -y qemu-kvm edk2-ovmf'],
    ['pacman', 'pacman -S --needed --noconfirm qemu-system-x86 edk2-ovmf'],
    ['zypper', 'zypper --non-interactive install --no-recommends qemu-x86 qemu-ovmf-x86_64'],
  ] as const)('speaks %s', (manager, command) => {
    expect(list({ manager, qemu: missing, ovmf: missing }).installCommand).toBe(command)
  })

  test('of a group asks for the first choice, and for nothing while another is there', () => {
    expect(list({ bubblewrap: missing }).installCommand).toBeNull()
    expect(list({ bubblewrap: missing, unshare: missing }).installCommand).toContain(' bubblewrap')
    expect(list({ ovmf: missing, bundledFirmware: ok }).installCommand).toBeNull()
    expect(list({ ovmf: missing }).installCommand).toContain(' ovmf')
  })

  test('says sudo to everybody but root', () => {
    expect(list({ isRoot: false, qemu: missing }).installCommand).toMatch(/^sudo apt-get/)
  })

  test('has no command for an unknown distribution, and still the list', () => {
    const { installCommand: command, item } = list({ manager: null, qemu: missing })
    expect([command, item('qemu')?.command, item('qemu')?.packages, item('qemu')?.state]).toEqual([
      null,
      null,
      [],
      'missing',
    ])
  })

  test('does not offer to install what is there but broken along with the missing', () => {
    expect(list({ qemu: { state: 'broken', detail: 'exit status 1' } }).installCommand).toBeNull()
  })

  test('mends permission for KVM by a command, but nothing that only advice can mend', () => {
    const denied = verdictOf({ opens: { ok: false, user: 'jane', error: null }, guest: null })
    expect(list({ verdict: denied, isRoot: false }).item('kvm')).toMatchObject({
      state: 'broken',
      command: 'sudo usermod -aG kvm jane',
    })
    const rootOnly = { present: true, isCharacterDevice: true, mode: 0o600, owner: 'root', group: 'root' } as const
    const closed = verdictOf({ device: rootOnly, opens: { ok: false, user: 'jane', error: null }, guest: null })
    expect(list({ verdict: closed, isRoot: false }).item('kvm')?.command).toBe(
      'sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm',
    )
    const unusable = verdictOf({ guest: { outcome: 'stopped', ms: 40, said: '' } })
    expect(list({ verdict: unusable }).item('kvm')).toMatchObject({ state: 'broken', command: null })
  })
})

test('a kernel that libguestfs may not read is opened by a command, and libguestfs itself is a package', () => {
  const closed = { state: 'broken', detail: 'for root alone', command: 'chmod 0644 /boot/vmlinuz-1' } as const
  expect(list({ guestfs: closed, isRoot: false }).item('guestfs')?.command).toBe('sudo chmod 0644 /boot/vmlinuz-1')
  const noKernel = { state: 'broken', detail: 'no kernel', command: null } as const
  expect(list({ guestfs: noKernel })).toMatchObject({ installCommand: null })
  expect(list({ guestfs: noKernel }).item('guestfs')?.command).toBeNull()
  expect(list({ guestfs: missing }).installCommand).toBe('apt-get install -y --no-install-recommends guestfs-tools')
})

describe('what the kernel gives', () => {
  test('is mended by loading a module, not by installing', () => {
    const { installCommand: command, item } = list({ kernel: [node('vhost-net', false)] })
    expect(item('vhost-net')).toMatchObject({ state: 'missing', command: 'modprobe vhost-net', packages: [] })
    expect(command).toBeNull()
  })

  test('or the firmware has to be switched on by hand, for which there is no command', () => {
    const off = { enabled: false, groups: 0, reason: 'Switch on VT-d.' }
    expect(list({ iommu: off }).item('iommu')).toMatchObject({ state: 'missing', command: null, detail: off.reason })
  })
})

test('virtiofsd is a package of its own only where QEMU does not bring it', () => {
  expect(list({ virtiofsd: missing }).installCommand).toMatch(/ virtiofsd$/)
  expect(list({ virtiofsd: missing, qemu: missing }).installCommand).not.toContain('virtiofsd')
})

describe('distributions', () => {
  test.each([
    ['ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"', 'apt'],
    ['ID=ubuntu\nID_LIKE=debian', 'apt'],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"', 'apt'],
    ['ID=fedora', 'dnf'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"', 'dnf'],
    ['ID=arch', 'pacman'],
    ['ID=endeavouros\nID_LIKE="arch"', 'pacman'],
    ['ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"', 'zypper'],
    ['ID="opensuse-leap"', 'zypper'],
    ['ID=nixos', null],
    ['', null],
  ])('%j is installed to with %s', (text, manager) => {
    expect(packageManager(parseOsRelease(text))).toBe(manager)
  })

  test('a package asked for twice is named once', () => {
    expect(installCommand('apt', ['util-linux', 'util-linux'], true)).toMatch(/recommends util-linux$/)
  })
})
