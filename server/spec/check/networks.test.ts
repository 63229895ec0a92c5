import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from '../compile.ts'
import { tapName } from '../devices/network.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '../test-support.ts'

const capabilities = capabilitiesOf('7.2')
const accept = (input: object, over: Partial<QemuCapabilities> = {}) =>
  normalizeSpec(VmSpecInput.parse({ name: 'a', ...input }), factsFor({ ...capabilities, ...over }))
function refusal(input: object, over: Partial<QemuCapabilities> = {}) {
  try {
    accept(input, over)
  } catch (error) {
    if (error instanceof EngineError) return { code: error.code, field: error.field, message: error.message }
    throw error
  }
  throw new Error('was accepted')
}
const bridged = (more: object = {}) => ({ network: 'bridge', bridge: 'br0', ...more })

describe('network cards', () => {
  const refused: [string, object, string, RegExp][] = [
    ['a bridge without a name', { network: 'bridge' }, 'networks.0.bridge', /Which/],
    ['a bridge on the user network', { bridge: 'br0' }, 'networks.0.bridge', /bridge/],
    ['queues on the user network', { queues: 4 }, 'networks.0.queues', /bridge/],
    ['queues of an emulated card', bridged({ model: 'e1000e', queues: 4 }), 'networks.0.queues', /virtio-net/],
    ['the kernel path on the user network', { vhost: true }, 'networks.0.vhost', /bridge/],
    ['the kernel path of an emulated card', bridged({ model: 'e1000', vhost: true }), 'networks.0.vhost', /virtio/],
    ['a rate limit on the user network', { rateLimit: { inKBps: 1, outKBps: 1 } }, 'networks.0.rateLimit', /bridge/],
    [
      'a rate limit without network',
      { network: 'none', rateLimit: { inKBps: 1, outKBps: 1 } },
      'networks.0.rateLimit',
      /./,
    ],
    ['an MTU of an emulated card', { model: 'rtl8139', mtu: 9000 }, 'networks.0.mtu', /virtio-net/],
    [
      'forwards on a bridge',
      bridged({ forwards: [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }] }),
      'networks.0.forwards',
      /user network/,
    ],
    ['restrictions on a bridge', bridged({ restrict: true }), 'networks.0.restrict', /user network/],
    ['network boot from USB', { model: 'usb-net', bootIndex: 1 }, 'networks.0.bootIndex', /USB/],
    ['an address of nobody', { mac: '00:00:00:00:00:00' }, 'networks.0.mac', /nobody/],
  ]
  it.each(refused)('%s is refused at its field, with the reason', (_, card, field, message) => {
    const answer = refusal({ networks: [card] })
    expect(answer).toMatchObject({ code: 'bad_input', field })
    expect(answer.message).toMatch(message)
  })

  it('a microvm takes virtio cards only and boots from none', () => {
    const machine = 'microvm'
    expect(refusal({ machine, networks: [{ model: 'e1000e' }] }).field).toBe('networks.0.model')
    expect(refusal({ machine, networks: [{ bootIndex: 1 }] }).field).toBe('networks.0.bootIndex')
  })

  it('a boot position belongs to one device, be it drive or card', () => {
    const answer = refusal({ disks: [{ device: 'disk', bootIndex: 1 }], networks: [{ bootIndex: 1 }] })
    expect(answer).toMatchObject({ code: 'bad_input', field: 'networks.0.bootIndex' })
    const both = accept({ disks: [{ device: 'disk' }], networks: [{ bootIndex: 1 }] })
    expect(both.disks[0]?.bootIndex).toBe(2)
  })

  it.each(['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '52:54:00:12:34', '52:54:00:12:34:5G', '5254.0012.3456'])(
    'the address %s is refused: multicast or none at all',
    (mac) => {
      expect(VmSpecInput.safeParse({ name: 'a', networks: [{ mac }] }).success).toBe(false)
    },
  )

  it('a QEMU built without a card or a network is said', () => {
    const types = capabilities.types.filter((type) => type !== 'vmxnet3')
    expect(refusal({ networks: [{ model: 'vmxnet3' }] }, { types }).field).toBe('networks.0.model')
    const backends = { ...capabilities.backends, netdev: ['tap'] }
    expect(refusal({ networks: [{}] }, { backends }).field).toBe('networks.0.network')
    expect(accept({ networks: [bridged(), { network: 'none' }] }, { backends }).networks).toHaveLength(2)
  })

  it('without /dev/vhost-net packets go through QEMU, which is said; nothing aborts', () => {
    const spec = accept({ networks: [bridged({ vhost: true })] })
    const plan = (vhostNet: boolean) => {
      const result = compile({
        ...compileInput(spec, capabilities),
        host: { ...compileInput(spec, capabilities).host, vhostNet },
      })
      if (!result.ok) throw new Error(JSON.stringify(result.problems))
      return result.plan
    }
    const netdev = (vhostNet: boolean) =>
      plan(vhostNet).options.find(({ argv }) => argv[0] === '-netdev')?.argv[1] ?? ''
    expect(JSON.parse(netdev(true)).vhost).toBe(true)
    expect(JSON.parse(netdev(false)).vhost).toBe(false)
    expect(plan(true).warnings.join()).not.toContain('vhost')
    expect(plan(false).warnings.join()).toContain('/dev/vhost-net')
  })

  it('every card on a bridge has its tap in the plan, under the name QEMU is given', () => {
    const spec = accept({
      networks: [bridged({ queues: 4, mtu: 9000 }), {}, bridged({ rateLimit: { inKBps: 5, outKBps: null } })],
    })
    const result = compile(compileInput(spec, capabilities))
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    const names = result.plan.options
      .filter(({ argv }) => argv[0] === '-netdev')
      .flatMap(({ argv }) => JSON.parse(argv[1] ?? '').ifname ?? [])
    expect(result.plan.taps).toEqual([
      { card: 'net0', name: names[0], bridge: 'br0', multiQueue: true, mtu: 9000, rateLimit: null },
      {
        ...{ card: 'net2', name: names[1], bridge: 'br0', multiQueue: false, mtu: null },
        rateLimit: { inKBps: 5, outKBps: null },
      },
    ])
  })
})

describe('names of taps', () => {
  it('fit Linux, stay the same, and differ by VM and card', () => {
    const names = new Set<string>()
    for (let vm = 0; vm < 500; vm += 1) {
      const id = `01890000-0000-7000-8000-${vm.toString(16).padStart(12, '0')}`
      for (let n = 0; n < 8; n += 1) {
        const name = tapName(id, `net${n}`)
        expect(name).toMatch(/^gd[0-9a-z]{13}$/)
        expect(tapName(id, `net${n}`)).toBe(name)
        names.add(name)
      }
    }
    expect(names.size).toBe(4000)
  })
})
