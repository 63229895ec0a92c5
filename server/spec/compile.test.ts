import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { compile, flattenArgv } from './compile.ts'
import { markChanges } from './explain.ts'
import { normalizeSpec } from './normalize.ts'
import { quoteWord, toShell } from './shell.ts'
import { capabilitiesOf, compileInput, DISK_ID, factsFor, type HostOptions, ISO_ID, VM_ID } from './test-support.ts'
import type { CompileInput, LaunchPlan } from './types.ts'

const capabilities = capabilitiesOf('7.2')

const inputFor = (spec: object = {}, options: HostOptions = {}): CompileInput =>
  compileInput(
    normalizeSpec(VmSpecInput.parse({ name: 'demo', ...spec }), factsFor(capabilities)),
    capabilities,
    options,
  )

function planOf(input: CompileInput): LaunchPlan {
  const result = compile(input)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.plan
}
const problemsOf = (input: CompileInput) => {
  const result = compile(input)
  return result.ok ? [] : result.problems
}
const valuesOf = (plan: LaunchPlan, flag: string) =>
  plan.options.filter((option) => option.argv[0] === flag).map((option) => option.argv[1])

describe('compile', () => {
  it('compiling twice gives the same plan', () => {
    const input = inputFor({ disks: [{ device: 'disk', image: DISK_ID }] })
    expect(compile(input)).toEqual(compile(structuredClone(input)))
  })

  it('boards before 2.9 get room for all that the firmware is told', () => {
    const room = 'fw_cfg_io.x-file-slots=32'
    for (const machine of ['pc-i440fx-2.8', 'pc-q35-2.8', 'pc-i440fx-1.4'])
      expect(valuesOf(planOf(inputFor({ machine })), '-global'), machine).toContain(room)
    for (const machine of ['pc-i440fx-2.9', 'pc-q35-7.2', 'microvm'])
      expect(valuesOf(planOf(inputFor({ machine })), '-global'), machine).not.toContain(room)
  })

  it('every option says what it does and why, in sentences, and where it comes from', () => {
    const plan = planOf(
      inputFor({
        firmware: 'uefi',
        disks: [
          { device: 'disk', image: DISK_ID },
          { device: 'cdrom', image: ISO_ID },
        ],
      }),
    )
    for (const option of [...plan.wrapper, ...plan.options]) {
      expect(option.what, option.argv.join(' ')).toMatch(/^[A-Z0-9].{10,}\.$/s)
      expect(option.why, option.argv.join(' ')).toMatch(/^[A-Za-z].{10,}\.$/s)
      expect(option.group).not.toBe('')
    }
  })

  it('every field an option points at exists in the spec', () => {
    const input = inputFor({ firmware: 'uefi', disks: [{ device: 'disk' }, { device: 'cdrom', image: ISO_ID }] })
    for (const { field } of planOf(input).options) {
      if (field === null) continue
      const value = field
        .slice(1)
        .split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], input.spec)
      expect(value, field).not.toBeUndefined()
    }
  })

  it('a disk chain is spelled out to its end, which has no backing file', () => {
    const [top] = valuesOf(planOf(inputFor({ disks: [{ device: 'disk', image: DISK_ID }] })), '-blockdev').map((v) =>
      JSON.parse(v ?? ''),
    )
    expect(top).toMatchObject({
      driver: 'qcow2',
      'read-only': false,
      backing: { driver: 'qcow2', 'read-only': true, backing: null, file: { 'read-only': true, locking: 'on' } },
    })
    expect(top.backing.file).not.toHaveProperty('discard')
  })

  it('ports have no gaps below the highest one in use, and the spares come on top', () => {
    const ports = (spec: object) =>
      valuesOf(planOf(inputFor(spec)), '-device').filter((v) => v?.includes('pcie-root-port')).length
    expect(ports({ networks: [], spareRootPorts: 0 })).toBe(0)
    expect(ports({ networks: [{}], spareRootPorts: 4 })).toBe(5)
    expect(ports({ networks: [{ rootPort: 9 }], spareRootPorts: 4 })).toBe(10)
    expect(ports({ networks: [{ rootPort: 31 }], spareRootPorts: 16 })).toBe(32)
  })

  it('as root QEMU drops to its own user, with its groups or none', () => {
    const wrapper = (user: CompileInput['user']) => planOf(inputFor({}, { user })).wrapper[0]?.argv
    expect(wrapper({ uid: 7, gid: 8, groups: [] })).toContain('--clear-groups')
    expect(wrapper({ uid: 7, gid: 8, groups: [9, 10] })).toEqual(
      expect.arrayContaining(['--reuid=7', '--regid=8', '--groups=9,10', '--no-new-privs', '--bounding-set=-all']),
    )
    expect(wrapper(null)).toEqual(['/usr/bin/setpriv', '--no-new-privs', '--'])
  })

  it('flattenArgv is the wrapper, then the binary, then the options', () => {
    const plan = planOf(inputFor())
    const { file, args } = flattenArgv(plan)
    expect(file).toBe('/usr/bin/setpriv')
    expect(args.indexOf(plan.binary)).toBe(plan.wrapper.flatMap((o) => o.argv).length - 1)
    expect(args.slice(-2)).toEqual(['-mon', 'chardev=mon1,mode=control'])
    expect(flattenArgv({ ...plan, wrapper: [] }).file).toBe(plan.binary)
  })

  it('no option opens a network port or names the VM by its free text', () => {
    const plan = planOf(inputFor({ name: 'secret name', description: 'secret text', tags: ['secret'] }))
    const argv = flattenArgv(plan).args.join(' ')
    expect(argv).not.toContain('secret')
    expect(argv).toContain(`guest=${VM_ID}`)
    expect(argv).not.toMatch(/tcp:|,port=|websocket|spice|-daemonize|-runas/)
  })

  it('forwards bind the loopback address only (N02)', () => {
    const plan = planOf(inputFor({ networks: [{ forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }] }] }))
    expect(JSON.parse(valuesOf(plan, '-netdev')[0] ?? '').hostfwd).toEqual([{ str: 'tcp:127.0.0.1:2222-:22' }])
  })
})

describe('compile: problems', () => {
  const base = inputFor({ disks: [{ device: 'disk' }] })
  const cases: [title: string, input: CompileInput, field: string][] = [
    ['a disk without a file', { ...base, drives: [] }, 'disks.0'],
    [
      'a file named by a relative path',
      { ...base, drives: [{ id: 'disk0', chain: [{ path: 'disk0.qcow2', format: 'qcow2', readOnly: false }] }] },
      'disks.0',
    ],
    ['the CPU model host on TCG', { ...base, spec: { ...base.spec, cpuModel: 'host' } }, 'cpuModel'],
    [
      'a machine that an update of QEMU removed',
      { ...base, spec: { ...base.spec, machine: 'pc-q35-2.4' }, capabilities: { ...capabilities, machines: [] } },
      'machine',
    ],
    [
      'an accelerator this QEMU lacks',
      { ...base, capabilities: { ...capabilities, accelerators: ['kvm'] } },
      'accelerator',
    ],
    ['root without setpriv', { ...base, tools: { ...base.tools, setpriv: null } }, ''],
    [
      'firmware that was uninstalled',
      { ...base, spec: { ...base.spec, firmware: 'uefi' }, capabilities: { ...capabilities, uefi: null } },
      'firmware',
    ],
  ]
  it.each(cases)('%s is named with its field, not thrown', (_, input, field) => {
    expect(problemsOf(input).map((problem) => problem.field)).toContain(field)
  })
})

describe('warnings', () => {
  const warningsOf = (spec: object, options?: HostOptions) => planOf(inputFor(spec, options)).warnings.join('\n')
  it('TCG is never silent', () => {
    expect(warningsOf({})).toContain('TCG')
    expect(warningsOf({}, { accelerator: 'kvm' })).not.toContain('TCG')
  })
  it('a user network that is not restricted is said to reach the host', () => {
    expect(warningsOf({ networks: [{}] })).toContain('10.0.2.2')
    expect(warningsOf({ networks: [{ restrict: true }] })).not.toContain('10.0.2.2')
    expect(warningsOf({ networks: [] })).not.toContain('10.0.2.2')
  })
  it('nothing to boot from is said', () => {
    expect(warningsOf({})).toContain('nothing to boot')
    expect(warningsOf({ disks: [{ device: 'cdrom' }] })).toContain('nothing to boot')
    expect(warningsOf({ disks: [{ device: 'disk', bootIndex: null }] })).toContain('nothing to boot')
    expect(warningsOf({ disks: [{ device: 'disk' }] })).not.toContain('nothing to boot')
  })
})

describe('markChanges', () => {
  it('nothing is marked while nothing runs, and nothing when the same runs', () => {
    const plan = planOf(inputFor())
    expect(markChanges(plan, null).some((option) => option.changed)).toBe(false)
    expect(markChanges(plan, structuredClone(plan)).some((option) => option.changed)).toBe(false)
  })
  it('exactly the options that differ are marked', () => {
    const next = planOf(inputFor({ memoryMiB: 2048, cpus: 2 }))
    const running = planOf(inputFor({ memoryMiB: 4096, cpus: 2 }))
    expect(
      markChanges(next, running)
        .filter((option) => option.changed)
        .map((option) => option.argv[0]),
    ).toEqual(['-m', '-object'])
  })
})

describe('shell text', () => {
  it('words are quoted only where a shell needs it', () => {
    expect(quoteWord('/usr/bin/qemu')).toBe('/usr/bin/qemu')
    expect(quoteWord('')).toBe("''")
    expect(quoteWord('a b')).toBe("'a b'")
    expect(quoteWord("it's")).toBe("'it'\\''s'")
  })
  it('has one option a line', () => {
    const plan = planOf(inputFor())
    expect(toShell(plan).split(' \\\n')).toHaveLength(plan.wrapper.length + 1 + plan.options.length)
  })
})
