/** Places and carried-over fields: what a change leaves alone stays where it is, on every machine family. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from './compile.ts'
import { applyPatch, normalizeSpec } from './normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from './test-support.ts'

const capabilities = capabilitiesOf('7.2')
const make = (input: object) => normalizeSpec(VmSpecInput.parse({ name: 'a', ...input }), factsFor(capabilities))
const change = (spec: VmSpec, patch: object) => applyPatch(spec, VmSpecPatch.parse(patch), factsFor(capabilities))
const refusal = (act: () => unknown) => {
  try {
    act()
  } catch (error) {
    if (error instanceof EngineError) return { field: error.field, message: error.message }
    throw error
  }
  throw new Error('was accepted')
}

/** Every `-device` by id. */
function devicesOf(spec: VmSpec): Map<string, string> {
  const result = compile(compileInput(spec, capabilities))
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  const found = new Map<string, string>()
  for (const { argv } of result.plan.options) {
    const [flag, value] = argv
    if (flag === '-device' && value !== undefined) found.set(JSON.parse(value).id, value)
  }
  return found
}

const MACHINES = ['q35', 'pc', 'microvm'] as const
const BUSES = ['virtio-blk', 'virtio-scsi', 'nvme', 'sata', 'ide', 'usb'] as const
const CD_BUSES = ['sata', 'ide', 'virtio-scsi', 'usb'] as const
const MODELS = ['virtio-net', 'e1000e', 'e1000', 'rtl8139', 'vmxnet3', 'usb-net'] as const

type Step =
  | { readonly do: 'disk'; readonly bus: (typeof BUSES)[number] }
  | { readonly do: 'cdrom'; readonly bus: (typeof CD_BUSES)[number] }
  | { readonly do: 'card'; readonly model: (typeof MODELS)[number] }
  | { readonly do: 'input'; readonly bus: 'usb' | 'virtio' }
  | { readonly do: 'remove' | 'shuffle'; readonly list: 'disks' | 'networks' | 'inputs'; readonly at: number }
  | { readonly do: 'move'; readonly at: number; readonly bus: (typeof BUSES)[number] }
  | { readonly do: 'swap'; readonly at: number; readonly model: (typeof MODELS)[number] }
  | { readonly do: 'edit'; readonly at: number }

const at = fc.nat({ max: 7 })
const list = fc.constantFrom('disks', 'networks', 'inputs')
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('disk'), bus: fc.constantFrom(...BUSES) }),
  fc.record({ do: fc.constant('cdrom'), bus: fc.constantFrom(...CD_BUSES) }),
  fc.record({ do: fc.constant('card'), model: fc.constantFrom(...MODELS) }),
  fc.record({ do: fc.constant('input'), bus: fc.constantFrom('usb', 'virtio') }),
  fc.record({ do: fc.constant('remove'), list, at }),
  fc.record({ do: fc.constant('shuffle'), list, at }),
  fc.record({ do: fc.constant('move'), at, bus: fc.constantFrom(...BUSES) }),
  fc.record({ do: fc.constant('swap'), at, model: fc.constantFrom(...MODELS) }),
  fc.record({ do: fc.constant('edit'), at }),
)

/** The patch a client would send, and the ids of what it means to change. */
function patchOf(spec: VmSpec, step: Step): { readonly patch: object; readonly touched: readonly string[] } {
  const known = (name: 'disks' | 'networks' | 'inputs') =>
    name === 'disks'
      ? spec.disks.map(({ id, device }) => ({ id, device }))
      : spec[name].map(({ id }: { id: string }) => ({ id }))
  switch (step.do) {
    case 'disk':
    case 'cdrom':
      return { patch: { disks: [...known('disks'), { device: step.do, bus: step.bus }] }, touched: [] }
    case 'card':
      return { patch: { networks: [...known('networks'), { model: step.model }] }, touched: [] }
    case 'input':
      return { patch: { inputs: [...known('inputs'), { type: 'tablet', bus: step.bus }] }, touched: [] }
    case 'remove': {
      const rest = known(step.list).filter((_, n) => n !== step.at)
      return { patch: { [step.list]: rest }, touched: [] }
    }
    case 'shuffle': {
      const all = known(step.list)
      return { patch: { [step.list]: [...all.slice(step.at), ...all.slice(0, step.at)] }, touched: [] }
    }
    case 'move': {
      const drive = spec.disks[step.at]
      const bus = drive?.device === 'cdrom' && !CD_BUSES.some((one) => one === step.bus) ? 'usb' : step.bus
      const disks = known('disks').map((one, n) => (n === step.at ? { ...one, bus } : one))
      return { patch: { disks }, touched: drive === undefined ? [] : [drive.id] }
    }
    case 'swap': {
      const card = spec.networks[step.at]
      const networks = known('networks').map((one, n) => (n === step.at ? { ...one, model: step.model } : one))
      return { patch: { networks }, touched: card === undefined ? [] : [card.id] }
    }
    case 'edit': {
      const drive = spec.disks[step.at]
      const disks = known('disks').map((one, n) => (n === step.at ? { ...one, bootIndex: null } : one))
      return { patch: { disks, description: 'edited' }, touched: drive === undefined ? [] : [drive.id] }
    }
  }
}

describe('places', () => {
  it.each(MACHINES)('on %s no sequence of changes moves a device that it does not change', (machine) => {
    fc.assert(
      fc.property(fc.array(steps, { minLength: 3, maxLength: 14 }), (sequence) => {
        let spec = make({ machine, disks: [{ device: 'disk' }, { device: 'cdrom' }], networks: [{}] })
        let accepted = 0
        for (const step of sequence) {
          const { patch, touched } = patchOf(spec, step)
          let next: VmSpec
          try {
            next = change(spec, patch)
          } catch (error) {
            // Full, or a bus this machine has not: refused as a whole.
            if (!(error instanceof EngineError) || error.code !== 'bad_input' || error.field === undefined) throw error
            continue
          }
          accepted += 1
          const before = devicesOf(spec)
          const after = devicesOf(next)
          for (const [id, device] of before)
            if (after.has(id) && !touched.includes(id.split('.')[0] ?? '')) expect(after.get(id)).toBe(device)
          spec = next
        }
        // Adding a virtio disk works on every family, so that the property cannot hold by refusing all.
        if (sequence.some((step) => step.do === 'disk' && step.bus === 'virtio-blk'))
          expect(accepted).toBeGreaterThan(0)
      }),
      { numRuns: 150 },
    )
  })

  it('a change that repeats the whole device keeps its place', () => {
    const spec = make({ disks: [{ device: 'disk' }, { device: 'disk', rootPort: 7 }], networks: [{}] })
    expect(change(spec, { disks: spec.disks, networks: spec.networks })).toEqual(spec)
  })

  it('a place is free again once its device is gone, and not before', () => {
    const spec = make({ disks: [{ device: 'disk' }, { device: 'disk' }], networks: [] })
    const more = change(spec, { disks: [{ device: 'disk', id: 'disk1' }, { device: 'disk' }] })
    expect(more.disks.map(({ id, rootPort }: { id: string; rootPort?: number | null }) => [id, rootPort])).toEqual([
      ['disk1', 1],
      ['disk2', 0],
    ])
  })

  const full: [string, object, string, RegExp][] = [
    [
      'SATA ports',
      { disks: Array.from({ length: 7 }, () => ({ device: 'disk', bus: 'sata' })) },
      'disks.6.port',
      /SATA/,
    ],
    [
      'IDE places',
      { machine: 'pc', disks: Array.from({ length: 5 }, () => ({ device: 'disk', bus: 'ide' })) },
      'disks.4.port',
      /IDE/,
    ],
    [
      'slots of a pc',
      { machine: 'pc', disks: Array.from({ length: 16 }, () => ({ device: 'disk' })) },
      'networks.0',
      /15/,
    ],
    [
      'USB ports',
      { usbPorts: 4, disks: Array.from({ length: 3 }, () => ({ device: 'disk', bus: 'usb' })) },
      'disks.2.port',
      /USB/,
    ],
  ]
  it.each(full)('when all %s are taken, the device that finds none is named', (_, input, field, message) => {
    const answer = refusal(() => make(input))
    expect(answer.field).toMatch(field === 'networks.0' ? /^disks\.15\.rootPort$/ : field)
    expect(answer.message).toMatch(message)
  })

  it('thirty disks fit on virtio-scsi beside eight cards', () => {
    const spec = make({
      disks: Array.from({ length: 30 }, () => ({ device: 'disk', bus: 'virtio-scsi' })),
      networks: Array.from({ length: 8 }, () => ({})),
    })
    expect(spec.disks.map((drive) => drive.port)).toEqual(Array.from({ length: 30 }, (__, n) => n))
  })
})

describe('a disk on another bus', () => {
  const disk = { device: 'disk', id: 'disk0' }
  const spec = make({
    disks: [{ ...disk, ioThread: true, queues: 2, sizeGiB: 9, serial: 'S1' }, { device: 'cdrom' }],
    networks: [],
  })

  it.each(['virtio-scsi', 'nvme', 'sata', 'usb'])('on %s keeps id, size, serial number and boot position', (bus) => {
    const moved = change(spec, { disks: [{ ...disk, bus }] }).disks[0]
    expect(moved).toMatchObject({ id: 'disk0', bus, sizeGiB: 9, serial: 'S1', bootIndex: 1 })
    const back = change(change(spec, { disks: [{ ...disk, bus }] }), { disks: [{ ...disk, bus: 'virtio-blk' }] })
    expect(back.disks[0]).toMatchObject({ bus: 'virtio-blk', rootPort: 0, port: null, werror: 'stop' })
  })

  it('drops what the new bus has not, even when the client repeats it', () => {
    const { disks } = change(spec, { disks: [{ ...spec.disks[0], bus: 'sata' }] })
    expect(disks[0]).toMatchObject({ ioThread: false, queues: null, rootPort: null, port: 0 })
    expect(change(spec, { disks: [{ ...spec.disks[0], bus: 'nvme' }] }).disks[0]).toMatchObject({
      werror: 'report',
      queues: 2,
      rootPort: 0,
    })
  })

  it('refuses what is asked for anew and the bus has not', () => {
    expect(refusal(() => change(spec, { disks: [{ ...disk, bus: 'sata', readOnly: true }] })).field).toBe(
      'disks.0.readOnly',
    )
    expect(refusal(() => change(spec, { disks: [{ ...disk, bus: 'ide' }] })).message).toMatch(/q35/)
  })

  it('gives up freeing zeroes when discard is switched off', () => {
    expect(change(spec, { disks: [{ ...disk, discard: 'ignore' }] }).disks[0]).toMatchObject({ detectZeroes: 'off' })
    const both = { disks: [{ ...disk, discard: 'ignore', detectZeroes: 'unmap' }] }
    expect(refusal(() => make(both)).field).toBe('disks.0.detectZeroes')
  })
})

describe('a card on another network', () => {
  const spec = make({
    networks: [{ id: 'net0', forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }], restrict: true }],
  })

  it('drops what belongs to the old one and gets what suits the new one', () => {
    const bridged = change(spec, { networks: [{ ...spec.networks[0], network: 'bridge', bridge: 'br0' }] })
    expect(bridged.networks[0]).toMatchObject({ forwards: [], restrict: false, vhost: true, rootPort: 0 })
    const rated = change(bridged, {
      networks: [{ id: 'net0', rateLimit: { inKBps: 1, outKBps: null }, queues: 4, mtu: 9000 }],
    })
    const back = change(rated, { networks: [{ id: 'net0', network: 'user' }] }).networks[0]
    expect(back).toMatchObject({ bridge: null, rateLimit: null, queues: null, vhost: false, mtu: 9000 })
  })

  it('another model keeps address and network, and the socket unless it goes to USB', () => {
    const e1000 = change(spec, { networks: [{ id: 'net0', model: 'e1000' }] }).networks[0]
    expect(e1000).toMatchObject({ ...spec.networks[0], model: 'e1000' })
    const usb = change(spec, { networks: [{ id: 'net0', model: 'usb-net' }] }).networks[0]
    expect(usb).toMatchObject({ mac: spec.networks[0]?.mac, rootPort: null, port: 3 })
  })
})

describe('another machine family', () => {
  it('hands out anew the places it does not have, and keeps the others', () => {
    const spec = make({
      disks: [{ device: 'disk', rootPort: 3 }, { device: 'disk', rootPort: 20 }, { device: 'cdrom' }],
    })
    const pc = change(spec, { machine: 'pc' })
    expect(pc.disks.map((drive) => (drive.device === 'disk' ? drive.rootPort : drive.bus))).toEqual([3, 1, 'sata'])
    const old = make({ machine: 'pc', disks: [{ device: 'disk', bus: 'ide' }, { device: 'cdrom' }] })
    expect(old.disks.map((drive) => [drive.bus, drive.port])).toEqual([
      ['ide', 0],
      ['ide', 1],
    ])
    expect(change(old, { machine: 'q35' }).disks.map((drive) => [drive.bus, drive.port])).toEqual([
      ['sata', 0],
      ['sata', 1],
    ])
  })
})
