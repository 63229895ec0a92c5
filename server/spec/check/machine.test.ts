import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from '../compile.ts'
import { applyPatch, newestMachine, normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, compileInput, factsFor, type HostOptions } from '../test-support.ts'
import type { CompileInput } from '../types.ts'

const capabilities = capabilitiesOf('7.2')
const facts = factsFor(capabilities)
const complete = (spec: object) => normalizeSpec(VmSpecInput.parse({ name: 'demo', ...spec }), facts)

/** Fields a definition is refused for; none when it is taken. */
function refused(spec: object): string[] {
  try {
    complete(spec)
    return []
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    const details = error.details as { problems?: { field: string }[] } | undefined
    return details?.problems?.map((problem) => problem.field) ?? [error.field ?? '']
  }
}

const outcome = (spec: object, options: HostOptions = {}, change: Partial<CompileInput> = {}) =>
  compile({ ...compileInput(complete(spec), capabilities, options), ...change })
function planOf(spec: object, options: HostOptions = {}, change: Partial<CompileInput> = {}) {
  const result = outcome(spec, options, change)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.plan
}
function problemsOf(spec: object, options: HostOptions = {}, change: Partial<CompileInput> = {}): string[] {
  const result = outcome(spec, options, change)
  return result.ok ? [] : result.problems.map((problem) => problem.field)
}
const argOf = (plan: ReturnType<typeof planOf>, flag: string) =>
  plan.options.find((option) => option.argv[0] === flag)?.argv[1]

describe('machine families', () => {
  it('a generation ID comes by itself where the board can have one, and is refused where it cannot', () => {
    expect(complete({}).generationId).toBe(true)
    expect(complete({ machine: 'pc-i440fx-2.5' }).generationId).toBe(true)
    for (const machine of ['pc-i440fx-2.4', 'pc-q35-2.4', 'pc-i440fx-1.4']) {
      expect(complete({ machine }).generationId).toBe(false)
      expect(refused({ machine, generationId: true })).toContain('generationId')
    }
  })
  it('the name of a family becomes its newest version, and stays', () => {
    expect(complete({ machine: 'pc' }).machine).toBe('pc-i440fx-7.2')
    expect(complete({ machine: 'q35' }).machine).toBe('pc-q35-7.2')
    expect(newestMachine(capabilitiesOf('11.1'), 'pc')).toBe('pc-i440fx-11.1')
    const spec = complete({ machine: 'pc-q35-6.2' })
    expect(applyPatch(spec, { description: 'x' }, facts).machine).toBe('pc-q35-6.2')
    expect(applyPatch(spec, { machine: 'q35' }, facts).machine).toBe('pc-q35-7.2')
  })

  it('a machine this QEMU does not have is refused', () => {
    expect(refused({ machine: 'pc-q35-99.0' })).toContain('machine')
    expect(VmSpecInput.safeParse({ name: 'x', machine: 'isapc' }).success).toBe(false)
  })

  it('microvm gets virtio alone by default, on no PCI, and a Windows guest there no UEFI', () => {
    const spec = complete({ machine: 'microvm', guest: 'windows', disks: [{ device: 'cdrom' }, { device: 'disk' }] })
    expect(spec).toMatchObject({
      firmware: 'bios',
      display: 'none',
      usbInput: false,
      usbController: 'none',
      ps2: false,
      spareRootPorts: 0,
      disks: [{ bus: 'virtio-scsi' }, { bus: 'virtio-blk' }],
    })
  })

  it.each([
    ['firmware', { firmware: 'uefi' }],
    ['tpm', { tpm: 'tpm-crb' }],
    ['iommu', { iommu: 'virtio' }],
    ['ps2', { ps2: true }],
    ['pvpanic', { pvpanic: true }],
    ['generationId', { generationId: true }],
    [
      'smbios',
      {
        smbios: {
          manufacturer: 'x',
          product: null,
          version: null,
          serial: null,
          sku: null,
          family: null,
          oemStrings: [],
        },
      },
    ],
    ['spareRootPorts', { spareRootPorts: 2 }],
    ['maxCpus', { cpus: 1, maxCpus: 2 }],
    ['memoryMaxMiB', { memoryMiB: 512, memoryMaxMiB: 1024 }],
    ['display', { display: 'std' }],
    ['usbInput', { usbInput: true }],
    ['sound', { sound: 'hda' }],
    ['bootMenu', { bootMenu: true }],
    ['disks.0.bus', { disks: [{ device: 'disk', bus: 'sata' }] }],
    ['networks.0.model', { networks: [{ model: 'e1000e' }] }],
  ])('microvm refuses what needs PCI or a chipset, at %s', (field, spec) => {
    expect(refused({ machine: 'microvm', ...spec })).toContain(field)
  })

  it('microvm has as many CPUs at most as it has', () => {
    const spec = complete({ machine: 'microvm', cpus: 4 })
    expect(applyPatch(spec, { cpus: 2 }, facts)).toMatchObject({ cpus: 2, maxCpus: 2 })
    expect(applyPatch(complete({ cpus: 4 }), { cpus: 2 }, facts)).toMatchObject({ cpus: 2, maxCpus: 4 })
  })

  it('boards older than 2.1 refuse what came with it', () => {
    const smbios = {
      manufacturer: 'x',
      product: null,
      version: null,
      serial: null,
      sku: null,
      family: null,
      oemStrings: [],
    }
    expect(refused({ machine: 'pc-i440fx-2.0', smbios, memoryMiB: 64, memoryMaxMiB: 128 })).toEqual([
      'smbios',
      'memoryMaxMiB',
    ])
    expect(refused({ machine: 'pc-i440fx-2.1', smbios, memoryMiB: 64, memoryMaxMiB: 128 })).toEqual([])
  })

  it('pc refuses what only q35 has', () => {
    expect(refused({ machine: 'pc', iommu: 'intel' })).toEqual(['iommu'])
    expect(refused({ machine: 'pc', secureBoot: true })).toEqual(['secureBoot'])
    expect(refused({ machine: 'pc', firmware: 'uefi' })).toEqual([])
  })
})

describe('firmware', () => {
  it('Secure Boot asks for UEFI by itself, and is refused on BIOS', () => {
    expect(complete({ secureBoot: true }).firmware).toBe('uefi')
    expect(refused({ secureBoot: true, firmware: 'bios' })).toEqual(['secureBoot'])
  })

  it('Secure Boot without its firmware on the host is refused at its own field', () => {
    const spec = complete({ secureBoot: true })
    const result = compile(compileInput(spec, { ...capabilities, secureBoot: null }))
    expect(result.ok ? [] : result.problems.map((problem) => problem.field)).toContain('secureBoot')
  })

  it('variables made without Secure Boot are pointed out, and firmware without keys', () => {
    const warnings = (change: Partial<CompileInput>) => planOf({ secureBoot: true }, {}, change).warnings.join('\n')
    expect(warnings({ nvram: { secureBoot: false } })).toMatch(/Reset them/)
    expect(warnings({ nvram: { secureBoot: true } })).not.toMatch(/Reset them/)
    const keyless = capabilities.secureBoot === null ? null : { ...capabilities.secureBoot, enrolledKeys: false }
    expect(warnings({ capabilities: { ...capabilities, secureBoot: keyless } })).toMatch(/no keys yet/)
  })

  it('a TPM needs swtpm, and directories without commas', () => {
    const tpm = { tpm: 'tpm-crb' }
    const { tools } = compileInput(complete({}), capabilities)
    expect(problemsOf(tpm, {}, { tools: { ...tools, swtpm: null } })).toEqual(['tpm'])
    expect(problemsOf(tpm, { dataDir: '/data,dir' })).toEqual(['tpm'])
    expect(planOf(tpm).helpers.map((helper) => helper.id)).toEqual(['tpm0'])
  })
})

describe('boot', () => {
  it('drives and network cards share the boot positions', () => {
    const disks = [{ device: 'disk', bootIndex: 1 }]
    expect(refused({ disks, networks: [{ bootIndex: 1 }] })).toEqual(['networks.0.bootIndex'])
    expect(refused({ disks, networks: [{ bootIndex: 2 }] })).toEqual([])
  })

  it('there is something to boot from: a kernel of the host, or the network', () => {
    const warnings = (spec: object) => planOf(spec).warnings.join('\n')
    expect(warnings({})).toContain('nothing to boot')
    expect(warnings({ networks: [{ bootIndex: 1 }] })).not.toContain('nothing to boot')
    expect(warnings({ directKernel: { kernel: '/k', initrd: null, commandLine: '' } })).not.toContain('nothing to boot')
  })
})

describe('clock', () => {
  const rtc = (spec: object, host = {}) => argOf(planOf(spec, { host }), '-rtc')
  it('an offset counts from the start, in UTC or in the local time of the host', () => {
    // 1750000000 is 2025-06-15 15:06:40 UTC.
    expect(rtc({ clockOffsetSeconds: 3600 })).toBe('base=2025-06-15T16:06:40,driftfix=slew')
    expect(rtc({ clockOffsetSeconds: 3600, clock: 'localtime' }, { utcOffsetSeconds: -1800 })).toBe(
      'base=2025-06-15T15:36:40,driftfix=slew',
    )
    expect(rtc({ clock: 'localtime' })).toBe('base=localtime,driftfix=slew')
  })
  it('the plan keeps the moment, so that a later one can be compared', () => {
    expect(planOf({}).startSeconds).toBe(1_750_000_000)
  })
})

describe('CPUs', () => {
  it('numbers no machine has are refused by the schema', () => {
    for (const spec of [{ cpus: 0 }, { cpus: -1 }, { cpus: 1000 }, { cpus: 1.5 }, { maxCpus: 256 }])
      expect(VmSpecInput.safeParse({ name: 'demo', ...spec }).success, JSON.stringify(spec)).toBe(false)
    for (const memoryMiB of [0, -1, 15, 64.5, 16_777_217, Number.MAX_SAFE_INTEGER])
      expect(VmSpecInput.safeParse({ name: 'demo', memoryMiB }).success, String(memoryMiB)).toBe(false)
  })

  it.each([
    ['fewer at most than at power-on', 'maxCpus', { cpus: 4, maxCpus: 2 }],
    ['an arrangement of another number', 'topology', { cpus: 4, topology: { sockets: 2, cores: 3, threads: 1 } }],
    ['numbers beyond 254', 'topology', { cpus: 1, maxCpus: 195, topology: { sockets: 3, cores: 65, threads: 1 } }],
    ['a flag nobody knows', 'cpuFlags.0.name', { cpuFlags: [{ name: 'warp-drive', enabled: true }] }],
    ['a Hyper-V flag beside its switch', 'cpuFlags.0.name', { cpuFlags: [{ name: 'hv-relaxed', enabled: true }] }],
    [
      'one flag twice, in both spellings',
      'cpuFlags.1.name',
      {
        cpuFlags: [
          { name: 'tsc-deadline', enabled: true },
          { name: 'tsc_deadline', enabled: false },
        ],
      },
    ],
    ['a bound CPU that is not there', 'pinning.0.vcpu', { cpus: 2, pinning: [{ vcpu: 2, hostCpus: '0' }] }],
    [
      'a CPU bound twice',
      'pinning.1.vcpu',
      {
        cpus: 2,
        pinning: [
          { vcpu: 1, hostCpus: '0' },
          { vcpu: 1, hostCpus: '1' },
        ],
      },
    ],
    ['a range that runs backwards', 'pinning.0.hostCpus', { pinning: [{ vcpu: 0, hostCpus: '3-1' }] }],
  ])('%s is refused', (_, field, spec) => {
    expect(refused(spec)).toContain(field)
  })

  it.each([
    ['486', { machine: 'q35' }, ['cpuModel']],
    ['486', { machine: 'pc' }, []],
    ['base', { machine: 'q35' }, ['cpuModel']],
    ['base', { machine: 'q35', cpuFlags: [{ name: 'apic', enabled: true }] }, []],
    ['max', { machine: 'q35', cpuFlags: [{ name: 'apic', enabled: false }] }, ['cpuModel']],
    ['486', { machine: 'pc', cpus: 2 }, ['cpus']],
    ['pentium-v1', { memoryMiB: 4096 }, ['memoryMiB']],
    ['pentium', { memoryMiB: 64, memoryMaxMiB: 512 }, ['memoryMaxMiB']],
    ['kvm32', { memoryMiB: 64, memoryMaxMiB: 12_288 }, []],
    ['kvm32', { memoryMiB: 64, memoryMaxMiB: 65_536 }, ['memoryMaxMiB']],
    ['max', { memoryMiB: 64, memoryMaxMiB: 65_536 }, []],
    ['max', { memoryMiB: 64, memoryMaxMiB: 65_536, cpuFlags: [{ name: 'lm', enabled: false }] }, ['memoryMaxMiB']],
  ])('CPUs of old, such as %s with %j, end where their addresses do', (cpuModel, spec, fields) => {
    expect(refused({ cpuModel, ...spec })).toEqual(fields)
  })

  it('more than the machine takes is refused, and room where the machine has no hotplug', () => {
    const [first] = capabilities.machines
    if (first === undefined) throw new Error('no machine')
    const asIf = (change: object) => ({
      capabilities: { ...capabilities, machines: [{ ...first, name: 'pc-q35-7.2', ...change }] },
    })
    expect(problemsOf({ cpus: 1, maxCpus: 5 }, {}, asIf({ maxCpus: 4 }))).toEqual(['maxCpus'])
    expect(problemsOf({ cpus: 5 }, {}, asIf({ maxCpus: 4 }))).toEqual(['cpus'])
    expect(problemsOf({ cpus: 1, maxCpus: 2 }, {}, asIf({ hotpluggableCpus: false }))).toEqual(['maxCpus'])
  })

  it('host CPUs that do not exist are refused where the host is known', () => {
    const pinning = [{ vcpu: 0, hostCpus: '0,3-4' }]
    expect(problemsOf({ pinning }, { host: { cpus: [0, 1, 2, 3] } })).toEqual(['pinning.0.hostCpus'])
    expect(planOf({ pinning }, { host: { cpus: [0, 1, 2, 3, 4] } }).pins).toEqual([{ vcpu: 0, hostCpus: '0,3-4' }])
  })

  it('room for more CPUs is given only where there is some, and flags are written out', () => {
    expect(argOf(planOf({ cpus: 2 }), '-smp')).toBe('cpus=2,sockets=1,cores=2,threads=1')
    expect(argOf(planOf({ cpus: 2, maxCpus: 4 }), '-smp')).toBe('cpus=2,maxcpus=4,sockets=1,cores=4,threads=1')
    const cpuFlags = [
      { name: 'avx2', enabled: false },
      { name: 'pmu', enabled: true },
    ]
    expect(argOf(planOf({ cpuFlags }), '-cpu')).toBe('max,avx2=off,pmu=on')
  })

  it('Hyper-V is for KVM, and only with what this QEMU knows', () => {
    const windows = { guest: 'windows', firmware: 'bios' }
    expect(argOf(planOf(windows), '-cpu')).toBe('max')
    expect(planOf(windows).warnings.join()).toMatch(/Hyper-V.*only KVM/)
    expect(argOf(planOf(windows, { accelerator: 'kvm' }), '-cpu')).toContain('hv-spinlocks=0x1fff')
    const cpuProperties = capabilities.cpuProperties.filter((property) => property.name === 'hv-relaxed')
    const few = planOf(windows, { accelerator: 'kvm' }, { capabilities: { ...capabilities, cpuProperties } })
    expect(argOf(few, '-cpu')).toBe('host,hv-relaxed=on')
    expect(argOf(planOf({ guest: 'linux' }, { accelerator: 'kvm' }), '-cpu')).toBe('host')
  })

  it('flags the accelerator cannot give are said', () => {
    const tcgLacks = capabilities.cpuFlags.find((flag) => !flag.tcg)?.name ?? ''
    expect(planOf({ cpuFlags: [{ name: tcgLacks, enabled: true }] }).warnings.join()).toContain(tcgLacks)
    expect(planOf({ cpuFlags: [{ name: tcgLacks, enabled: false }] }).warnings.join()).not.toContain(tcgLacks)
  })
})

describe('memory', () => {
  const node = (cpus: string, memoryMiB: number, hostNodes: string | null = null) => ({ cpus, memoryMiB, hostNodes })
  it.each([
    ['a module without room', 'dimms', { dimms: [{ sizeMiB: 128 }] }],
    ['virtio-mem without room', 'virtioMem', { virtioMem: { sizeMiB: 128, requestedMiB: 0 } }],
    ['a maximum that is no more', 'memoryMaxMiB', { memoryMiB: 512, memoryMaxMiB: 512 }],
    ['more than the maximum', 'memoryMaxMiB', { memoryMiB: 512, memoryMaxMiB: 1024, dimms: [{ sizeMiB: 640 }] }],
    [
      'more of virtio-mem than it has',
      'virtioMem.requestedMiB',
      { memoryMiB: 512, memoryMaxMiB: 1024, virtioMem: { sizeMiB: 256, requestedMiB: 258 } },
    ],
    [
      'an odd step of virtio-mem',
      'virtioMem.requestedMiB',
      { memoryMiB: 512, memoryMaxMiB: 1024, virtioMem: { sizeMiB: 256, requestedMiB: 3 } },
    ],
    ['half a huge page', 'memoryMiB', { memoryMiB: 513, hugePages: '2M' }],
    ['a balloon target beyond all', 'balloonTargetMiB', { memoryMiB: 512, balloonTargetMiB: 513 }],
    ['a balloon target without balloon', 'balloonTargetMiB', { balloon: false, balloonTargetMiB: 64 }],
    ['nodes with less memory in all', 'numa', { cpus: 2, memoryMiB: 512, numa: [node('0', 256), node('1', 128)] }],
    ['a CPU in no node', 'numa', { cpus: 3, memoryMiB: 512, numa: [node('0', 256), node('1', 256)] }],
    ['a CPU in two nodes', 'numa.1.cpus', { cpus: 2, memoryMiB: 512, numa: [node('0-1', 256), node('1', 256)] }],
    ['a CPU that is not there', 'numa.0.cpus', { cpus: 2, memoryMiB: 512, numa: [node('0-2', 512)] }],
    ['a node list backwards', 'numa.0.hostNodes', { cpus: 1, memoryMiB: 512, numa: [node('0', 512, '2-1')] }],
  ])('%s is refused', (_, field, spec) => {
    expect(refused(spec)).toContain(field)
  })

  it('huge pages are asked of the host: none, too few, or taken by others', () => {
    const pool = (total: number, free: number) => ({ host: { hugePages: { '2M': { total, free }, '1G': null } } })
    const huge = { memoryMiB: 512, hugePages: '2M' }
    expect(problemsOf({ ...huge, hugePages: '1G', memoryMiB: 1024 }, pool(0, 0))).toEqual(['hugePages'])
    expect(problemsOf(huge, pool(255, 255))).toEqual(['hugePages'])
    expect(planOf(huge, pool(256, 255)).warnings.join()).toMatch(/255 are free/)
    expect(planOf(huge, pool(256, 256)).warnings.join()).not.toMatch(/free now/)
  })

  it('host nodes that do not exist are refused', () => {
    const numa = [node('0', 512, '0-1')]
    expect(problemsOf({ cpus: 1, memoryMiB: 512, numa }, { host: { memoryNodes: [0] } })).toEqual(['numa.0.hostNodes'])
  })

  it('memory is shared with file servers only where there are some', () => {
    const share = (spec: object) =>
      JSON.parse(planOf(spec).options.find((option) => option.argv[1]?.includes('"ram0"'))?.argv[1] ?? '').share
    expect(share({})).toBe(false)
    expect(share({ shares: [{ source: '/srv' }] })).toBe(true)
    expect(share({ shares: [{ source: '/srv', driver: '9p' }] })).toBe(false)
  })

  it('under TCG addresses end below a terabyte', () => {
    expect(problemsOf({ memoryMaxMiB: 1_048_576 })).toEqual(['memoryMaxMiB'])
    expect(problemsOf({ memoryMaxMiB: 1_048_576 }, { accelerator: 'kvm' })).toEqual([])
  })

  it('the target of the balloon is set before the guest runs', () => {
    expect(planOf({ memoryMiB: 1024, balloonTargetMiB: 512 }).commands).toMatchObject([
      { execute: 'balloon', arguments: { value: 512 * 1024 ** 2 } },
    ])
    expect(planOf({}).commands).toEqual([])
  })
})
