import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { familyOf } from './machines.ts'
import { readMachineHelp, readProperties } from './properties.ts'
import type { QemuCapabilities } from './types.ts'

function fixture(version: string): QemuCapabilities {
  return JSON.parse(readFileSync(new URL(`__fixtures__/qemu-${version}.json`, import.meta.url), 'utf8'))
}
const only = (property: object) => readProperties([property])[0]

describe('a property', () => {
  test.each([
    ['before QEMU 8', 'FDC drive type, 144/288/120/none/auto', ['144', '288', '120', 'none', 'auto']],
    [
      'in brackets',
      'Error handling policy (report/ignore/enospc/stop/auto)',
      ['report', 'ignore', 'enospc', 'stop', 'auto'],
    ],
    ['with dots and underscores', '2_5/5/8/16', ['2_5', '5', '8', '16']],
    ['not listed', 'Specify MSI-X relocation to the end of BAR', null],
    ['of prose with one slash at its end but more after it', 'a/b of the card', null],
  ])('of an enumeration %s has its members', (_how, description, values) => {
    expect(only({ name: 'x', type: 'SomeEnum', description })?.values).toEqual(values)
  })

  test('of a common enumeration has its members even where QEMU does not list them', () => {
    expect(only({ name: 'x', type: 'OnOffAuto' })?.values).toEqual(['on', 'off', 'auto'])
  })

  test.each([
    ['uint8', 0, 255],
    ['uint16', 0, 65_535],
    ['int32', -2_147_483_648, 2_147_483_647],
    ['size', 0, Number.MAX_SAFE_INTEGER],
    ['bool', null, null],
    ['str', null, null],
  ])('of type %s has the range of that type', (type, min, max) => {
    expect(only({ name: 'x', type, description: 'on/off' })).toMatchObject({ min, max, values: null })
  })

  test('that is built in or a reading is no setting', () => {
    const types = ['child<memory-region>', 'link<irq>', 'guest statistics', 'struct tm']
    expect(readProperties(types.map((type) => ({ name: 'x', type })))).toEqual([])
    expect(readProperties([{ name: 'hotplugged', type: 'bool' }])).toEqual([])
    expect(only({ name: 'iothread', type: 'link<iothread>' })).toBeDefined()
  })

  test('with a default past 2^53 keeps it as text', () => {
    expect(only({ name: 'x', type: 'uint64', 'default-value': 2n ** 64n - 1n })?.default).toBe('18446744073709551615')
  })
})

test('the help of a machine is read line by line, whatever stands around it', () => {
  const text = `microvm-machine options:
  acpi=<OnOffAuto>       - Enable ACPI
  confidential-guest-support=<link<confidential-guest-support>> - Set scheme
  i8042=<bool>
qemu: warning: something else
`
  expect(readMachineHelp(text).map(({ name, type, description }) => [name, type, description])).toEqual([
    ['acpi', 'OnOffAuto', 'Enable ACPI'],
    ['confidential-guest-support', 'link<confidential-guest-support>', 'Set scheme'],
    ['i8042', 'bool', null],
  ])
  expect(readMachineHelp('')).toEqual([])
})

test.each([
  ['pc-q35-7.2', 'q35'],
  ['pc-i440fx-10.0', 'pc'],
  ['microvm', 'microvm'],
  ['x-remote', null],
  ['isapc', null],
  ['xenpv', null],
])('the machine %s is of the family %s', (name, family) => {
  expect(familyOf(name)).toBe(family)
})

describe.each(['7.2', '10.0', '11.1'])('captured QEMU %s', (version) => {
  const found = fixture(version)

  test('tells properties with ranges and members of the devices guests are made of', () => {
    const property = (device: string, name: string) =>
      found.deviceProperties[device]?.find((candidate) => candidate.name === name)
    expect(property('virtio-blk-pci', 'num-queues')).toMatchObject({ type: 'uint16', min: 0, max: 65_535 })
    expect(property('virtio-net-pci', 'host_mtu')).toMatchObject({ type: 'uint16' })
    expect(property('scsi-hd', 'werror')?.values).toContain('stop')
    expect(property('virtio-balloon-pci', 'free-page-reporting')).toMatchObject({ type: 'bool', default: false })
    expect(property('throttle-group', 'x-bps-total')).toBeDefined()
    expect(found.machineProperties.q35.find(({ name }) => name === 'smm')?.values).toEqual(['on', 'off', 'auto'])
    expect(found.machineProperties.microvm.map(({ name }) => name)).toEqual(expect.arrayContaining(['rtc', 'pcie']))
    expect(found.cpuProperties.map(({ name }) => name)).toEqual(expect.arrayContaining(['hv-vapic', 'migratable']))
  })

  test('names each CPU feature once, in its preferred spelling', () => {
    const names = found.cpuFlags.map((flag) => flag.name)
    expect(names).toEqual([...new Set(names)].sort())
    expect(names).toEqual(expect.arrayContaining(['sse4.1', 'aes', 'vmx', 'svm', 'x2apic']))
    expect(names).not.toEqual(expect.arrayContaining(['sse4_1']))
    expect(found.cpuFlags.find((flag) => flag.name === 'sse4.2')?.tcg).toBe(true)
  })
})

test('what differs between versions is a feature', () => {
  const differing = (['7.2', '10.0', '11.1'] as const).map((version) => {
    const { features } = fixture(version)
    return {
      reconnect: [features.chardevReconnect, features.chardevReconnectMs],
      netdev: [features.netdevReconnect, features.netdevReconnectMs, features.netdevPasst],
      runWith: features.runWith,
      cpuUnplug: features.cpuUnplugUnderTcgIsSafe,
      vqMapping: features.iothreadVqMapping,
      iommufd: features.iommufd,
      vdagent: features.vdagent,
    }
  })
  expect(differing).toEqual([
    {
      reconnect: [true, false],
      netdev: [false, false, false],
      runWith: false,
      cpuUnplug: false,
      vqMapping: false,
      iommufd: false,
      vdagent: true,
    },
    {
      reconnect: [true, true],
      netdev: [true, true, false],
      runWith: true,
      cpuUnplug: true,
      vqMapping: true,
      iommufd: true,
      vdagent: true,
    },
    {
      reconnect: [false, true],
      netdev: [false, true, true],
      runWith: true,
      cpuUnplug: true,
      vqMapping: true,
      iommufd: true,
      vdagent: true,
    },
  ])
})
