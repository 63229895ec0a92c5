import { describe, expect, test } from 'vitest'
import { mayReadWrite } from './accelerator.ts'
import { readCpu } from './cpu.ts'
import { parseMeminfo, parseOsRelease } from './inventory.ts'
import { findName } from './names.ts'
import { judgeVirtualization, type VirtualizationFacts } from './virtualization.ts'

const INTEL_DESKTOP = `processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz
flags\t\t: fpu vme de sse sse2 ht syscall nx lm vmx smx est
vmx flags\t: vnmi preemption_timer

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz
flags\t\t: fpu vme de sse sse2 ht syscall nx lm vmx smx est
`
const AMD_GUEST = `processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC
flags\t\t: fpu vme de pse tsc msr pae sse2 ht syscall nx lm hypervisor lahf_lm
`

describe('/proc/cpuinfo', () => {
  test('of an Intel desktop', () => {
    expect(readCpu(INTEL_DESKTOP)).toEqual({
      vendor: 'Intel',
      model: 'Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz',
      count: 2,
      vmx: true,
      svm: false,
      hypervisor: false,
    })
  })
  test('of an AMD virtual machine', () => {
    expect(readCpu(AMD_GUEST)).toMatchObject({ vendor: 'AMD', vmx: false, svm: false, hypervisor: true })
  })
  test('that cannot be read claims nothing', () => {
    expect(readCpu('')).toEqual({ vendor: '', model: '', count: 0, vmx: false, svm: false, hypervisor: false })
  })
})

describe('surroundings', () => {
  const nothing: VirtualizationFacts = {
    cpuinfo: INTEL_DESKTOP,
    dmiVendor: '',
    dmiProduct: '',
    hypervisorType: '',
    containerEnv: '',
    hasDockerenv: false,
    hasContainerenv: false,
  }
  test.each<[string, Partial<VirtualizationFacts>, { vm: string | null; container: string | null }]>([
    ['a desktop', { dmiVendor: 'ASUS' }, { vm: null, container: null }],
    [
      'a Surface, whose maker also makes hypervisors',
      { dmiVendor: 'Microsoft Corporation' },
      { vm: null, container: null },
    ],
    ['Hyper-V', { cpuinfo: AMD_GUEST, dmiVendor: 'Microsoft Corporation' }, { vm: 'Hyper-V', container: null }],
    ['a QEMU guest', { cpuinfo: AMD_GUEST, dmiVendor: 'QEMU' }, { vm: 'QEMU/KVM', container: null }],
    ['something unnamed', { cpuinfo: AMD_GUEST }, { vm: 'unknown hypervisor', container: null }],
    ['docker on a desktop', { hasDockerenv: true }, { vm: null, container: 'docker' }],
    ['LXC', { containerEnv: 'lxc' }, { vm: null, container: 'lxc' }],
    ['Xen without the flag', { hypervisorType: 'xen' }, { vm: 'Xen', container: null }],
  ])('%s', (_name, facts, expected) => {
    expect(judgeVirtualization({ ...nothing, ...facts })).toEqual(expected)
  })
})

describe('small files', () => {
  test('os-release with quotes, escapes and comments', () => {
    expect(parseOsRelease('# x\nNAME=\'Odd\'\nID=odd\nID_LIKE="a b"\nPRETTY_NAME="Odd \\"One\\""\n')).toEqual({
      id: 'odd',
      like: ['a', 'b'],
      prettyName: 'Odd "One"',
    })
  })
  test('meminfo in MiB', () => {
    expect(parseMeminfo('MemTotal:       24684548 kB\nMemFree: 1 kB\nMemAvailable:   20971520 kB\n')).toEqual({
      totalMiB: 24106,
      availableMiB: 20480,
    })
    expect(parseMeminfo('')).toEqual({ totalMiB: 0, availableMiB: 0 })
  })
  test('names by number', () => {
    const group = 'root:x:0:\nkvm:x:110:jane\n'
    expect([findName(group, 110), findName(group, 0), findName(group, 11)]).toEqual(['kvm', 'root', null])
  })
})

describe('permission bits', () => {
  const jane = { uid: 1000, gid: 1000, groups: [110] }
  test.each([
    [{ mode: 0o20660, uid: 0, gid: 110 }, true],
    [{ mode: 0o20660, uid: 0, gid: 111 }, false],
    [{ mode: 0o20666, uid: 0, gid: 0 }, true],
    [{ mode: 0o20600, uid: 1000, gid: 0 }, true],
    [{ mode: 0o20600, uid: 0, gid: 110 }, false],
    // The first class that fits decides: the group's lack of rights is not made up for by those of the others.
    [{ mode: 0o20606, uid: 0, gid: 110 }, false],
  ])('%j: %s', (file, allowed) => {
    expect(mayReadWrite(file, jane)).toBe(allowed)
  })
})
