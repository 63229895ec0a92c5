/** Moving a guest to virtio and back: every step leaves a definition that is accepted, with the same data behind it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { type Direction, DRIVER_CD_ID, type MovePlan, PROBE_ID, planMove } from '#lib/vm/virtio-assistant.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from './compile.ts'
import { applyPatch, normalizeSpec } from './normalize.ts'
import { capabilitiesOf, compileInput, factsFor, ISO_ID } from './test-support.ts'

const capabilities = capabilitiesOf('10.0')
const make = (input: object) => normalizeSpec(VmSpecInput.parse({ name: 'a', ...input }), factsFor(capabilities))
const change = (spec: VmSpec, patch: unknown) => applyPatch(spec, VmSpecPatch.parse(patch), factsFor(capabilities))

const driver = make({ disks: [{ device: 'cdrom', image: ISO_ID }] }).disks[0]?.image ?? null
const plan = (spec: VmSpec, direction: Direction, image = driver): MovePlan =>
  planMove(spec, { direction, virtioDriverImage: image })

const disk = fc.record({
  device: fc.constant('disk'),
  bus: fc.constantFrom('virtio-blk', 'virtio-scsi', 'nvme', 'sata', 'ide', 'usb'),
  cache: fc.constantFrom('writeback', 'none'),
  serial: fc.constantFrom(undefined, null),
  bootIndex: fc.constantFrom(undefined, null),
})
const cdrom = fc.record({
  device: fc.constant('cdrom'),
  bus: fc.constantFrom('sata', 'ide', 'virtio-scsi', 'usb'),
  image: fc.constantFrom(null, ISO_ID),
})
const card = fc.record({ model: fc.constantFrom('virtio-net', 'e1000e', 'e1000', 'rtl8139', 'vmxnet3', 'usb-net') })
const anyInput = fc.record({
  guest: fc.constantFrom('linux', 'windows', 'bsd', 'other'),
  machine: fc.constantFrom('q35', 'pc'),
  disks: fc.array(fc.oneof({ weight: 4, arbitrary: disk }, { weight: 1, arbitrary: cdrom }), { maxLength: 9 }),
  networks: fc.array(card, { maxLength: 4 }),
  display: fc.constantFrom('std', 'qxl', 'bochs', 'ramfb', 'virtio-vga', 'none'),
})

function accepted(input: object): VmSpec | null {
  try {
    return make(input)
  } catch (error) {
    // A bus this machine has not, or no port left on it.
    if (error instanceof EngineError) return null
    throw error
  }
}

/** What no step may touch. */
const kept = (spec: VmSpec) => ({
  disks: spec.disks
    .filter(({ id }) => id !== PROBE_ID && id !== DRIVER_CD_ID)
    .map((drive) => ({
      id: drive.id,
      device: drive.device,
      bootIndex: drive.bootIndex,
      ...(drive.device === 'disk'
        ? { sizeGiB: drive.sizeGiB, image: drive.image, serial: drive.serial, cache: drive.cache }
        : {}),
    })),
  networks: spec.networks.map(({ id, mac, network, forwards }) => ({ id, mac, network, forwards })),
})

/** Takes every step to the end; `each` sees every definition on the way. */
function walk(from: VmSpec, direction: Direction, each: (spec: VmSpec) => void = () => {}, image = driver): VmSpec {
  let spec = from
  for (let count = 0; ; count += 1) {
    const { steps, complete } = plan(spec, direction, image)
    const next = steps.find((step) => step.patch !== null)
    if (complete || next === undefined) return spec
    expect(next.state).toBe('next')
    if (count > 10) throw new Error(`the plan does not end: ${next.id}`)
    spec = change(spec, next.patch)
    each(spec)
  }
}

const isVirtio = (spec: VmSpec) =>
  spec.disks.every((drive) => drive.device === 'cdrom' || drive.bus.startsWith('virtio-')) &&
  spec.networks.every(({ model }) => model === 'virtio-net') &&
  ['none', 'virtio-vga', 'virtio-gpu'].includes(spec.display)

const compiles = (spec: VmSpec) => {
  const result = compile(compileInput(spec, capabilities))
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
}

describe('moving to virtio', () => {
  it('from any hardware the steps end with virtio alone, over definitions that all start, and keep data and addresses', () => {
    let moved = 0
    fc.assert(
      fc.property(anyInput, (input) => {
        const spec = accepted(input)
        if (spec === null) return
        if (!isVirtio(spec)) moved += 1
        const end = walk(spec, 'to-virtio', (each) => {
          compiles(each)
          expect(kept(each)).toEqual(kept(spec))
        })
        expect(isVirtio(end)).toBe(true)
        expect(end.disks.some(({ id }) => id === PROBE_ID || id === DRIVER_CD_ID)).toBe(false)
        expect(plan(end, 'to-virtio').complete).toBe(true)
      }),
      { numRuns: 400 },
    )
    expect(moved).toBeGreaterThan(150)
  })

  it('the boot disk moves after everything else, to the bus the guest has seen', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const spec = accepted(input)
        if (spec === null) return
        walk(spec, 'to-virtio', (each) => {
          const { steps } = plan(each, 'to-virtio')
          const boot = steps.find((step) => step.id === 'boot-disk')
          if (boot?.state !== 'next') return
          const others = steps.filter((step) => step.id !== 'boot-disk' && step.id !== 'cleanup')
          expect(others.map((step) => step.state)).toEqual(others.map(() => 'done'))
          expect(each.disks.some((drive) => drive.bus === boot.target && !boot.devices.includes(drive.id))).toBe(true)
          expect(boot).toMatchObject({ needsOff: true, needsCheck: true })
        })
      }),
      { numRuns: 200 },
    )
  })

  const windows = () =>
    make({
      guest: 'windows',
      machine: 'q35',
      disks: [{ device: 'disk', bus: 'sata' }, { device: 'disk', bus: 'sata' }, { device: 'cdrom' }],
      networks: [{ model: 'e1000e' }],
      display: 'std',
    })
  const states = (spec: VmSpec, image = driver) =>
    plan(spec, 'to-virtio', image).steps.map(({ id, state }) => `${id} ${state}`)

  it('Windows gets the drivers first, then a small disk, card, display, data disks, boot disk', () => {
    expect(states(windows())).toEqual([
      'drivers next',
      'probe later',
      'networks later',
      'display later',
      'data-disks later',
      'boot-disk later',
    ])
    const [first] = plan(windows(), 'to-virtio').steps
    expect(first).toMatchObject({ devices: ['cd0'], needsOff: false })
    const next = change(windows(), first?.patch)
    expect(states(next).slice(0, 3)).toEqual(['drivers done', 'probe next', 'networks later'])
  })

  it('without a driver CD in the library the way is open: the check before the boot disk decides', () => {
    expect(states(windows(), null).slice(0, 3)).toEqual(['drivers next', 'probe next', 'networks later'])
    expect(isVirtio(walk(windows(), 'to-virtio', compiles, null))).toBe(true)
  })

  it('what the plan brought leaves with the last step, the medium in a drive of the VM too', () => {
    const seen: string[][] = []
    const end = walk(windows(), 'to-virtio', (spec) => seen.push(spec.disks.map(({ id }) => id)))
    expect(seen[1]).toEqual(['disk0', 'disk1', 'cd0', PROBE_ID])
    expect(end.disks.map(({ id, image }) => [id, image])).toEqual([
      ['disk0', null],
      ['disk1', null],
      ['cd0', null],
    ])
  })

  it('a guest that has a disk on virtio needs no small one', () => {
    const spec = make({
      disks: [
        { device: 'disk', bus: 'sata' },
        { device: 'disk', bus: 'virtio-blk' },
      ],
    })
    expect(states(spec)).toContain('probe done')
    expect(plan(spec, 'to-virtio').steps.find((step) => step.id === 'boot-disk')?.target).toBe('virtio-blk')
  })

  it('properties of another driver go with it, those of other devices stay', () => {
    const spec = make({
      disks: [{ device: 'disk', bus: 'sata' }],
      networks: [{ model: 'e1000e' }],
      display: 'none',
      properties: { disk0: { rotation_rate: 1 }, net0: { disable_vnet_hdr: 1 }, rng0: { 'max-bytes': 1000 } },
    })
    const end = walk(spec, 'to-virtio', compiles)
    expect(end.properties).toEqual({ rng0: { 'max-bytes': 1000 } })
    const networks = plan(change(spec, plan(spec, 'to-virtio').steps[0]?.patch), 'to-virtio').steps.find(
      (step) => step.id === 'networks',
    )
    expect(networks?.dropsProperties).toEqual(['net0'])
  })

  it('where no socket is left, disks go to the SCSI controller, which needs none', () => {
    const spec = make({
      machine: 'pc',
      disks: [{ device: 'disk', bus: 'ide' }, ...Array.from({ length: 15 }, () => ({ device: 'disk', bus: 'nvme' }))],
      networks: [],
    })
    const end = walk(spec, 'to-virtio', compiles)
    expect(end.disks[0]?.bus).toBe('virtio-scsi')
    expect(isVirtio(end)).toBe(true)
  })

  it('nothing is to be moved in a new Linux guest', () => {
    expect(plan(make({ guest: 'linux', disks: [{ device: 'disk' }] }), 'to-virtio').complete).toBe(true)
  })
})

describe('moving back', () => {
  it('from any hardware no virtio disk, card or display is left, over definitions that all start', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const spec = accepted(input)
        if (spec === null) return
        const end = walk(spec, 'to-emulated', (each) => {
          compiles(each)
          expect(kept(each)).toEqual(kept(spec))
        })
        expect(end.disks.filter(({ bus }) => bus.startsWith('virtio-'))).toEqual([])
        expect(end.networks.filter(({ model }) => model === 'virtio-net')).toEqual([])
        expect(end.display).not.toMatch(/^virtio-/)
      }),
      { numRuns: 300 },
    )
  })

  it('the boot disk is first: its controller is on the mainboard all the time', () => {
    const spec = make({ machine: 'q35', disks: [{ device: 'disk' }, { device: 'disk' }], display: 'virtio-vga' })
    const { steps } = plan(spec, 'to-emulated')
    expect(steps.map(({ id, target }) => `${id} ${target}`)).toEqual([
      'boot-disk sata',
      'data-disks sata',
      'networks e1000e',
      'display std',
    ])
    const old = make({ machine: 'pc', disks: [{ device: 'disk' }] })
    expect(plan(old, 'to-emulated').steps.map(({ target }) => target)).toEqual(['ide', 'e1000', 'std'])
  })

  it('there and back again is the same hardware in other sockets', () => {
    const spec = make({
      machine: 'q35',
      disks: [{ device: 'disk', bus: 'sata' }],
      networks: [{ model: 'e1000e' }],
      display: 'std',
    })
    const back = walk(walk(spec, 'to-virtio'), 'to-emulated')
    expect({ ...back, networks: [], disks: [] }).toEqual({ ...spec, networks: [], disks: [] })
    expect(back.disks).toEqual(spec.disks)
    expect(kept(back)).toEqual(kept(spec))
  })

  it('half way to virtio, the small disk goes when one turns back', () => {
    const spec = make({ disks: [{ device: 'disk', bus: 'sata' }], networks: [], display: 'none' })
    const half = change(spec, plan(spec, 'to-virtio').steps[0]?.patch)
    expect(half.disks.map(({ id }) => id)).toEqual(['disk0', PROBE_ID])
    expect(walk(half, 'to-emulated').disks).toEqual(spec.disks)
  })

  it('a microvm cannot: it has virtio devices only', () => {
    const spec = make({ machine: 'microvm', disks: [{ device: 'disk' }] })
    expect(plan(spec, 'to-emulated')).toMatchObject({ impossible: 'microvm', steps: [] })
    expect(plan(spec, 'to-virtio').complete).toBe(true)
  })
})
