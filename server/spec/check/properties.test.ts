import { describe, expect, it } from 'vitest'
import { refusedName, refusedProperty } from '#lib/devices/property-rules.ts'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { compile } from '../compile.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '../test-support.ts'

const capabilities = capabilitiesOf('10.0')

function compiled(properties: object, spec: object = {}) {
  const input = VmSpecInput.parse({ name: 'x', disks: [{ device: 'disk' }], sound: 'hda', properties, ...spec })
  return compile(compileInput(normalizeSpec(input, factsFor(capabilities)), capabilities))
}
const problemsOf = (properties: object, spec: object = {}) => {
  const result = compiled(properties, spec)
  return result.ok ? [] : result.problems
}

describe('properties', () => {
  it('reach the option of their device, marked and explained', () => {
    const result = compiled({ disk0: { logical_block_size: 4096 }, balloon0: { 'page-poison': false } })
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    const disk = result.plan.options.find((option) => option.argv[1]?.includes('"id":"disk0"'))
    expect(JSON.parse(disk?.argv[1] ?? '')).toMatchObject({ driver: 'virtio-blk-pci', logical_block_size: 4096 })
    expect(disk).toMatchObject({ origin: 'choice', field: '/properties/disk0' })
    expect(disk?.what).toContain('logical_block_size to 4096')
  })

  it('disks on SATA have sectors of 512 bytes, whatever QEMU says it takes', () => {
    const sata = { disks: [{ device: 'disk', bus: 'sata' }] }
    expect(problemsOf({ disk0: { logical_block_size: 4096 } }, sata)).toMatchObject([
      { field: 'properties.disk0.logical_block_size' },
    ])
    expect(problemsOf({ disk0: { logical_block_size: 512 } }, sata)).toEqual([])
  })

  it.each([
    ['of a device that is not there', { disk7: { logical_block_size: 512 } }, 'properties.disk7'],
    ['of something that is no device', { mon0: { x: 1 } }, 'properties.mon0'],
    ['that the device has not', { disk0: { colour: 'red' } }, 'properties.disk0.colour'],
    ['of another type', { disk0: { logical_block_size: '4096' } }, 'properties.disk0.logical_block_size'],
    ['that are no whole number', { disk0: { logical_block_size: 4096.5 } }, 'properties.disk0.logical_block_size'],
    ['below their range', { disk0: { 'queue-size': -1 } }, 'properties.disk0.queue-size'],
    ['above their range', { disk0: { 'queue-size': 65_536 } }, 'properties.disk0.queue-size'],
    ['that are none of the choices', { video0: { 'disable-legacy': 'maybe' } }, 'properties.video0.disable-legacy'],
    ['that a field sets', { disk0: { serial: 'mine' } }, 'properties.disk0.serial'],
    ['that move the device', { rng0: { addr: '0x3' } }, 'properties.rng0.addr'],
    ['that lead to a file of the host', { net0: { romfile: '/etc/shadow' } }, 'properties.net0.romfile'],
    ['that make QEMU write a file', { kbd0: { pcap: '/etc/passwd' } }, 'properties.kbd0.pcap'],
    ['that are experiments', { disk0: { 'x-ats-page-aligned': false } }, 'properties.disk0.x-ats-page-aligned'],
    ['named help', { disk0: { help: true } }, 'properties.disk0.help'],
    ['that fill the log', { sound0: { debug: 9 } }, 'properties.sound0.debug'],
  ])('%s are refused at the field', (_, properties, field) => {
    expect(problemsOf(properties, { display: 'virtio-vga' }).map((problem) => problem.field)).toEqual([field])
  })

  it('SCSI passthrough is refused on every QEMU that has it', () => {
    const old = capabilitiesOf('7.2')
    const input = VmSpecInput.parse({ name: 'x', disks: [{ device: 'disk' }], properties: { disk0: { scsi: true } } })
    const result = compile(compileInput(normalizeSpec(input, factsFor(old)), old))
    expect(result).toMatchObject({ ok: false, problems: [{ field: 'properties.disk0.scsi' }] })
    expect(refusedName('scsi')).toMatch(/SCSI commands/)
  })

  it('names that reach out of the guest stay refused, however they are spelled', () => {
    for (const name of ['vhostfd', 'vhostfds', 'sysfsdev', 'mem_path', 'mem-path', 'filename', 'my-fd', 'config_file'])
      expect(refusedName(name), name).not.toBeNull()
    for (const name of ['rx_queue_size', 'vectors', 'event_idx', 'rombar', 'usb_version', 'write-cache'])
      expect(refusedName(name), name).toBeNull()
  })

  it('free text goes to no property of any device, but to those that the guest alone sees', () => {
    const taken = Object.entries(capabilities.deviceProperties).flatMap(([driver, known]) =>
      known
        .filter(({ name }) => refusedProperty(name, '/etc/shadow', known) === null)
        .map(({ name }) => `${driver}.${name}`),
    )
    expect(taken.length).toBeGreaterThan(5)
    expect(taken.filter((each) => !/\.(?:serial|product|vendor|ver|model|device_id)$/.test(each))).toEqual([])
  })
})
