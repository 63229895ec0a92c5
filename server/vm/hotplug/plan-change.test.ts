import { describe, expect, it } from 'vitest'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { compile } from '#server/spec/compile.ts'
import { normalizeSpec } from '#server/spec/normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '#server/spec/test-support.ts'
import type { LaunchPlan } from '#server/spec/types.ts'
import { addedCommands, ownerOf, partsOf, withChange } from './plan-change.ts'
import { plugPart, readKeyValues } from './qmp-of-option.ts'

const capabilities = capabilitiesOf('7.2')
const planOf = (spec: VmSpec): LaunchPlan => {
  const result = compile(compileInput(spec, capabilities))
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.plan
}
const spec = normalizeSpec(
  {
    name: 'x',
    disks: [
      { device: 'disk', sizeGiB: 1 },
      { device: 'disk', sizeGiB: 1 },
    ],
    networks: [{}],
    channels: [{}],
  },
  factsFor(capabilities),
)
const option = (...argv: string[]) => ({ argv, group: 'x', what: '', why: '', origin: 'choice' as const, field: null })

describe('an option as monitor commands', () => {
  it('of a device, a back end or an object is what its command takes', () => {
    expect(plugPart(option('-device', '{"driver":"virtio-rng-pci","id":"r0"}'))).toEqual({
      id: 'r0',
      kind: 'device',
      add: { execute: 'device_add', arguments: { driver: 'virtio-rng-pci', id: 'r0' } },
      remove: { execute: 'device_del', arguments: { id: 'r0' } },
    })
    expect(plugPart(option('-blockdev', '{"driver":"file","node-name":"n"}'))).toMatchObject({
      add: { execute: 'blockdev-add' },
      remove: { execute: 'blockdev-del', arguments: { 'node-name': 'n' } },
    })
    expect(plugPart(option('-netdev', '{"type":"user","id":"n"}'))?.remove.execute).toBe('netdev_del')
    expect(plugPart(option('-object', '{"qom-type":"iothread","id":"n"}'))?.remove.execute).toBe('object-del')
  })

  it('of a socket is its tagged form, with commas in the path as they are', () => {
    expect(plugPart(option('-chardev', 'socket,id=c,path=/run/a,,b.sock,server=on,wait=off'))?.add).toEqual({
      execute: 'chardev-add',
      arguments: {
        id: 'c',
        backend: {
          type: 'socket',
          data: { addr: { type: 'unix', data: { path: '/run/a,b.sock' } }, server: true, wait: false },
        },
      },
    })
    expect(plugPart(option('-chardev', 'socket,id=c,path=/x'))?.add.arguments.backend).toEqual({
      type: 'socket',
      data: { addr: { type: 'unix', data: { path: '/x' } }, server: false },
    })
  })

  it('is none for what only a start understands', () => {
    expect(plugPart(option('-m', '64'))).toBeNull()
    expect(plugPart(option('-S'))).toBeNull()
    expect(plugPart(option('-chardev', 'pty,id=c'))).toBeNull()
    expect(plugPart(option('-device', 'virtio-rng-pci,id=r'))).toBeNull()
  })

  it('reads doubled commas anywhere, also at the end', () => {
    expect([...readKeyValues('null,id=a,,,logfile=,,x')]).toEqual([
      ['backend', 'null'],
      ['id', 'a,'],
      ['logfile', ',x'],
    ])
  })

  it('exists for every option of every device that the compiler makes', () => {
    const plan = planOf(spec)
    for (const id of ['disk0', 'net0', 'port0']) {
      const kinds = partsOf(plan.options, id).map((part) => part.kind)
      expect(kinds.at(-1), id).toBe('device')
      expect(kinds.length, id).toBe(2)
    }
    expect(ownerOf('disk0.10f')).toBe('disk0')
  })
})

describe('the plan of what runs', () => {
  const without: VmSpec = { ...spec, disks: spec.disks.slice(0, 1) }

  it('gets a device where a start would have put it, and loses it without a trace', () => {
    const before = planOf(without)
    const after = planOf(spec)
    const grown = withChange(before, before, after, 'disk1')
    const order = (plan: LaunchPlan) =>
      plan.options.map((one) => one.argv.join(' ')).filter((one) => !/root-port/.test(one))
    expect(order(grown)).toEqual(order(after))
    expect(order(withChange(grown, after, before, 'disk1'))).toEqual(order(before))
  })

  it('keeps what differs for another reason: options of the QEMU it was started with', () => {
    const old = planOf(without)
    const odd = option('-global', 'of=yesterday')
    const running = { ...old, options: [odd, ...old.options.filter((one) => one.argv[0] !== '-msg')] }
    const grown = withChange(running, old, planOf(spec), 'disk1')
    expect(grown.options[0]).toBe(odd)
    expect(grown.options.some((one) => one.argv[0] === '-msg')).toBe(false)
    expect(partsOf(grown.options, 'disk1')).toHaveLength(2)
  })

  it('has the commands that a device brings', () => {
    const [card] = spec.networks
    if (card === undefined) throw new Error('no card')
    const cut: VmSpec = { ...spec, networks: [{ ...card, link: false }] }
    expect(addedCommands(planOf({ ...spec, networks: [] }), planOf(cut)).map(({ execute }) => execute)).toEqual([
      'set_link',
    ])
    expect(addedCommands(planOf(cut), planOf(cut))).toEqual([])
  })
})
