import { describe, expect, it } from 'vitest'
import { VmSpec, VmSpecInput, VmSpecPatch } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { applyPatch, newestMachine, normalizeSpec } from './normalize.ts'
import { capabilitiesOf, DISK_ID, factsFor, ISO_ID } from './test-support.ts'

const capabilities = capabilitiesOf('7.2')
const UNKNOWN = '01890000-0000-7000-8000-0000000000ff'

const normalize = (input: unknown, over: Partial<typeof capabilities> = {}) =>
  normalizeSpec(VmSpecInput.parse(input), factsFor({ ...capabilities, ...over }))
const patch = (spec: VmSpec, change: unknown) =>
  applyPatch(spec, VmSpecPatch.parse(change), {
    ...factsFor(capabilities),
    nextMac: () => '52:54:00:ff:00:01',
  })

function refusal(run: () => unknown): { code: string; field: string | undefined; message: string } {
  try {
    run()
  } catch (error) {
    if (error instanceof EngineError) return { code: error.code, field: error.field, message: error.message }
    throw error
  }
  throw new Error('was accepted')
}

describe('normalizeSpec: defaults', () => {
  it('a name alone becomes a complete, valid spec without disks and with one network card', () => {
    const spec = normalize({ name: 'demo' })
    expect(VmSpec.parse(spec)).toEqual(spec)
    expect(spec.disks).toEqual([])
    expect(spec.networks).toHaveLength(1)
    expect(spec).toMatchObject({ guest: 'other', cpus: 1, memoryMiB: 1024, display: 'std', machine: 'pc-q35-7.2' })
  })

  it('the smallest spec of the contract is accepted and keeps what it says', () => {
    const spec = normalize({ name: 'demo', memoryMiB: 512, cpus: 1, disks: [{ device: 'cdrom', image: ISO_ID }] })
    expect(spec).toMatchObject({ memoryMiB: 512, cpus: 1, guest: 'linux' })
    expect(spec.disks).toEqual([
      { id: 'cd0', device: 'cdrom', bus: 'sata', image: ISO_ID, seed: null, bootIndex: 1, port: 0 },
    ])
  })

  it('the guest kind is taken from the medium that boots, unless it is given', () => {
    const disks = [{ device: 'disk' }, { device: 'cdrom', image: ISO_ID }]
    expect(normalize({ name: 'a', disks }).guest).toBe('linux')
    expect(normalize({ name: 'a', disks, guest: 'bsd' }).guest).toBe('bsd')
    expect(normalize({ name: 'a', disks: [{ device: 'cdrom', image: ISO_ID, bootIndex: null }] }).guest).toBe('other')
  })

  it('what starts from one kind of firmware alone gets that one, unless another is chosen', () => {
    const disks = [{ device: 'cdrom', image: ISO_ID }]
    const firmware = (bootModes: readonly ('bios' | 'uefi')[], input: object = {}) => {
      const facts = factsFor(capabilities)
      const iso = { kind: 'iso', virtualSizeBytes: 2 ** 20, guest: null, bootModes } as const
      const images = new Map([...facts.images, [ISO_ID as string, iso]])
      return normalizeSpec(VmSpecInput.parse({ name: 'a', disks, ...input }), { ...facts, images }).firmware
    }
    expect(firmware(['uefi'])).toBe('uefi')
    expect(firmware(['bios'], { guest: 'windows' })).toBe('bios')
    expect(firmware(['bios', 'uefi'])).toBe('bios')
    expect(firmware(['bios', 'uefi'], { guest: 'windows' })).toBe('uefi')
    expect(firmware([])).toBe('bios')
    expect(firmware(['uefi'], { firmware: 'bios' })).toBe('bios')
  })

  it('every guest kind gets defaults that this QEMU can run', () => {
    for (const guest of ['linux', 'windows', 'bsd', 'other'])
      expect(VmSpec.safeParse(normalize({ name: 'a', guest })).success).toBe(true)
    expect(normalize({ name: 'a', guest: 'windows' })).toMatchObject({ firmware: 'uefi', clock: 'localtime' })
    expect(normalize({ name: 'a', guest: 'windows' }, { uefi: null }).firmware).toBe('bios')
    expect(normalize({ name: 'a', guest: 'linux' }).display).toBe('virtio-vga')
    const types = capabilities.types.filter((type) => type !== 'virtio-vga')
    expect(normalize({ name: 'a', guest: 'linux' }, { types }).display).toBe('std')
  })

  it('a CD with a medium boots before disks, an empty drive after them; given positions stay', () => {
    const disks = [{ device: 'cdrom' }, { device: 'disk' }, { device: 'cdrom', image: ISO_ID }]
    expect(normalize({ name: 'a', disks }).disks.map((d) => d.bootIndex)).toEqual([3, 2, 1])
    const given = [
      { device: 'disk', bootIndex: 1 },
      { device: 'cdrom', image: ISO_ID },
      { device: 'disk', bootIndex: null },
    ]
    expect(normalize({ name: 'a', disks: given }).disks.map((d) => d.bootIndex)).toEqual([1, 2, null])
  })

  it('a disk from an image has at least its size, a blank one what suits the guest', () => {
    const sizes = normalize({
      name: 'a',
      guest: 'windows',
      disks: [{ device: 'disk', image: DISK_ID }, { device: 'disk' }],
    }).disks.map((d) => (d.device === 'disk' ? d.sizeGiB : null))
    expect(sizes).toEqual([3, 64])
  })

  it('ports, ids and addresses are filled around the given ones', () => {
    const spec = normalize({
      name: 'a',
      disks: [
        { device: 'disk' },
        { device: 'disk', id: 'disk0', rootPort: 0 },
        { device: 'cdrom', port: 0 },
        { device: 'cdrom' },
      ],
      networks: [{ mac: '52:54:00:00:00:01' }, {}],
    })
    expect(spec.disks.map((d) => d.id)).toEqual(['disk1', 'disk0', 'cd0', 'cd1'])
    expect(spec.disks.map((d) => (d.device === 'disk' ? d.rootPort : d.port))).toEqual([1, 0, 0, 1])
    expect(spec.networks.map((n) => n.rootPort)).toEqual([2, 3])
    expect(new Set(spec.networks.map((n) => n.mac)).size).toBe(2)
  })

  it('an empty list of networks stays empty', () => {
    expect(normalize({ name: 'a', networks: [] }).networks).toEqual([])
  })

  it('the machine is the newest versioned q35 type that is not deprecated', () => {
    expect(newestMachine(capabilities)).toBe('pc-q35-7.2')
    const machine = (name: string, deprecated = false) => ({
      name,
      deprecated,
      alias: null,
      isDefault: false,
      maxCpus: 288,
      defaultCpuType: null,
      family: 'q35' as const,
      hotpluggableCpus: true,
      numaMemSupported: true,
    })
    const machines = [
      machine('pc-q35-9.2'),
      machine('pc-q35-10.0'),
      machine('pc-q35-4.0.1'),
      machine('pc-q35-11.0', true),
    ]
    expect(newestMachine({ ...capabilities, machines })).toBe('pc-q35-10.0')
    expect(refusal(() => newestMachine({ ...capabilities, machines: [] }))).toMatchObject({ field: 'machine' })
  })
})

describe('normalizeSpec: refusals', () => {
  const cases: [title: string, input: object, field: string, over?: Partial<typeof capabilities>][] = [
    ['an ISO as a disk', { disks: [{ device: 'disk', image: ISO_ID }] }, 'disks.0.image'],
    ['a disk image as a CD', { disks: [{ device: 'cdrom', image: DISK_ID }] }, 'disks.0.image'],
    ['a disk smaller than its image', { disks: [{ device: 'disk', image: DISK_ID, sizeGiB: 2 }] }, 'disks.0.sizeGiB'],
    ['two devices of one id', { disks: [{ device: 'disk', id: 'x' }], networks: [{ id: 'x' }] }, 'networks.0.id'],
    ['an id of the built-in hardware', { disks: [{ device: 'disk', id: 'video0' }] }, 'disks.0.id'],
    ['a root port as an id', { networks: [{ id: 'rp3' }] }, 'networks.0.id'],
    [
      'two devices on one PCIe port',
      {
        disks: [
          { device: 'disk', rootPort: 1 },
          { device: 'disk', rootPort: 1 },
        ],
      },
      'disks.1.rootPort',
    ],
    [
      'two drives on one SATA port',
      {
        disks: [
          { device: 'cdrom', port: 2 },
          { device: 'cdrom', port: 2 },
        ],
      },
      'disks.1.port',
    ],
    [
      'two drives of one boot position',
      {
        disks: [
          { device: 'disk', bootIndex: 4 },
          { device: 'cdrom', bootIndex: 4 },
        ],
      },
      'disks.1.bootIndex',
    ],
    [
      'two cards of one address',
      { networks: [{ mac: '52:54:00:00:00:0a' }, { mac: '52:54:00:00:00:0a' }] },
      'networks.1.mac',
    ],
    [
      'one host port forwarded twice',
      {
        networks: [
          { forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }] },
          { forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 80 }] },
        ],
      },
      'networks.1.forwards.0.hostPort',
    ],
    ['seven CD drives on SATA', { disks: Array.from({ length: 7 }, () => ({ device: 'cdrom' })) }, 'disks.6.port'],
    [
      'more devices than PCIe ports',
      { disks: Array.from({ length: 30 }, () => ({ device: 'disk' })), networks: [{}, {}, {}] },
      'networks.2.rootPort',
    ],
    ['a machine type of another QEMU', { machine: 'pc-q35-99.0' }, 'machine'],
    [
      'more CPUs than the machine takes',
      { cpus: 255, machine: 'pc-q35-7.2' },
      'cpus',
      { machines: capabilities.machines.map((m) => ({ ...m, maxCpus: 8 })) },
    ],
    ['an unknown CPU model', { cpuModel: 'Nonsense' }, 'cpuModel'],
    ['the host CPU model on TCG', { cpuModel: 'host', accelerator: 'tcg' }, 'cpuModel'],
    ['UEFI without its firmware', { firmware: 'uefi' }, 'firmware', { uefi: null }],
    [
      'a device this QEMU was built without',
      { balloon: true },
      'balloon',
      { types: capabilities.types.filter((t) => t !== 'virtio-balloon-pci') },
    ],
  ]
  it.each(cases)('%s is refused at its field', (_, input, field, over) => {
    const answer = refusal(() => normalize({ name: 'a', ...input }, over))
    expect(answer).toMatchObject({ code: 'bad_input', field })
    expect(answer.message).toMatch(/\.$/)
  })

  it('an image that is not in the library is refused as missing', () => {
    expect(refusal(() => normalize({ name: 'a', disks: [{ device: 'cdrom', image: UNKNOWN }] }))).toMatchObject({
      code: 'image_missing',
      field: 'disks.0.image',
    })
  })

  it('the same host port may be forwarded once for TCP and once for UDP', () => {
    const forwards = [
      { protocol: 'tcp', hostPort: 5353, guestPort: 53 },
      { protocol: 'udp', hostPort: 5353, guestPort: 53 },
    ]
    expect(normalize({ name: 'a', networks: [{ forwards }] }).networks[0]?.forwards).toEqual(forwards)
  })

  it('several mistakes come together in the details', () => {
    try {
      normalize({ name: 'a', cpuModel: 'Nonsense', disks: [{ device: 'disk', image: ISO_ID }] })
      throw new Error('was accepted')
    } catch (error) {
      expect((error as EngineError).details).toEqual({
        problems: [expect.objectContaining({ field: 'disks.0.image' }), expect.objectContaining({ field: 'cpuModel' })],
      })
    }
  })
})

describe('applyPatch', () => {
  const spec = normalize({
    name: 'a',
    guest: 'linux',
    disks: [{ device: 'disk' }, { device: 'cdrom', image: ISO_ID }],
    networks: [{}],
  })

  it('an empty patch changes nothing', () => {
    expect(patch(spec, {})).toEqual(spec)
  })

  it('fields left out keep their value, also inside list elements of a known id', () => {
    const next = patch(spec, {
      memoryMiB: 4096,
      disks: [
        { device: 'cdrom', id: 'cd0', image: null },
        { device: 'disk', id: 'disk0', sizeGiB: 40 },
      ],
      networks: [{ id: 'net0', restrict: true }],
    })
    expect(next.memoryMiB).toBe(4096)
    expect(next.disks).toEqual([
      { ...spec.disks[1], image: null },
      { ...spec.disks[0], sizeGiB: 40 },
    ])
    expect(next.networks).toEqual([{ ...spec.networks[0], restrict: true }])
  })

  it('a list replaces the whole list', () => {
    expect(patch(spec, { disks: [], networks: [] })).toMatchObject({ disks: [], networks: [] })
  })

  it('a new device gets a fresh id and port, never those of one that was there', () => {
    const [disk] = patch(spec, { disks: [{ device: 'disk', sizeGiB: 1 }] }).disks
    expect(disk).toMatchObject({ id: 'disk1', sizeGiB: 1, image: null })
    const added = patch(spec, { networks: [{ id: 'net0' }, {}] }).networks[1]
    expect(added).toMatchObject({ id: 'net1', mac: '52:54:00:ff:00:01', rootPort: 2 })
  })

  it('what a disk holds cannot be cut or swapped by editing', () => {
    const grown = patch(spec, { disks: [{ device: 'disk', id: 'disk0', sizeGiB: 30 }] })
    expect(refusal(() => patch(grown, { disks: [{ device: 'disk', id: 'disk0', sizeGiB: 29 }] }))).toMatchObject({
      field: 'disks.0.sizeGiB',
    })
    expect(refusal(() => patch(spec, { disks: [{ device: 'disk', id: 'disk0', image: DISK_ID }] }))).toMatchObject({
      field: 'disks.0.image',
    })
    expect(refusal(() => patch(spec, { disks: [{ device: 'cdrom', id: 'disk0' }] }))).toMatchObject({
      field: 'disks.0.device',
    })
  })

  it('a change is checked like a new definition', () => {
    expect(refusal(() => patch(spec, { machine: 'pc-q35-99.0' }))).toMatchObject({ field: 'machine' })
    expect(refusal(() => patch(spec, { disks: [{ device: 'cdrom', id: 'cd0', image: UNKNOWN }] }))).toMatchObject({
      code: 'image_missing',
    })
  })
})
