import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { type VmSpec, VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from '../compile.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '../test-support.ts'
import type { CompileInput } from '../types.ts'

const capabilities = capabilitiesOf('10.0')
const normalize = (spec: object, of = capabilities): VmSpec =>
  normalizeSpec(VmSpecInput.parse({ name: 'x', ...spec }), factsFor(of))

const Several = z.object({ problems: z.array(z.object({ field: z.string(), message: z.string() })) })

/** Field and message of every problem; empty when the definition is accepted. */
function refusals(spec: object, of = capabilities): [field: string, message: string][] {
  try {
    normalize(spec, of)
    return []
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    const several = Several.safeParse(error.details).data?.problems
    return (several ?? [{ field: error.field ?? '', message: error.message }]).map(({ field, message }) => [
      field,
      message,
    ])
  }
}
const fieldsOf = (spec: object, of = capabilities) => refusals(spec, of).map(([field]) => field)

const launchProblems = (spec: object, change: Partial<CompileInput>) => {
  const result = compile({ ...compileInput(normalize(spec), capabilities), ...change })
  return result.ok ? [] : result.problems.map(({ field, message }) => `${field}: ${message}`)
}

describe('screens', () => {
  it('several outputs are for cards that have them, up to what they have', () => {
    for (const display of ['virtio-vga', 'virtio-gpu', 'qxl'])
      expect(fieldsOf({ display, displayHeads: 4 })).toEqual([])
    expect(fieldsOf({ display: 'virtio-gpu', firmware: 'uefi', displayHeads: 16 })).toEqual([])
    expect(fieldsOf({ display: 'qxl', displayHeads: 5 })).toEqual(['displayHeads'])
    for (const display of ['std', 'bochs', 'ramfb'])
      expect(fieldsOf({ display, displayHeads: 2 })).toEqual(['displayHeads'])
  })

  it('a screen that is not there has no properties', () => {
    const set = { displayHeads: 2, displayResolution: { width: 800, height: 600 }, displayMemoryMiB: 16 }
    expect(fieldsOf({ display: 'none', ...set })).toEqual(['displayHeads', 'displayResolution', 'displayMemoryMiB'])
    expect(fieldsOf({ display: 'ramfb', ...set, displayHeads: 1 })).toEqual(['displayResolution', 'displayMemoryMiB'])
  })

  it('ramfb needs a machine whose firmware can tell where it draws', () => {
    const old = capabilitiesOf('7.2')
    expect(fieldsOf({ display: 'ramfb', machine: 'pc-q35-2.4' }, old)).toEqual(['display'])
    expect(fieldsOf({ display: 'ramfb', machine: 'pc-q35-2.5' }, old)).toEqual([])
  })

  it('USB ports count from 1, also those of drives', () => {
    const cd = (port: number) => ({ disks: [{ device: 'cdrom', bus: 'usb', port }] })
    expect(fieldsOf(cd(0))).toEqual(['disks.0.port'])
    expect(fieldsOf(cd(3))).toEqual([])
  })

  it('memory is what the card takes, and enough for the chosen size', () => {
    expect(fieldsOf({ display: 'std', displayMemoryMiB: 24 })).toEqual(['displayMemoryMiB'])
    expect(fieldsOf({ display: 'std', displayMemoryMiB: 512 })).toEqual(['displayMemoryMiB'])
    expect(fieldsOf({ display: 'qxl', displayMemoryMiB: 128 })).toEqual(['displayMemoryMiB'])
    expect(fieldsOf({ display: 'virtio-vga', displayMemoryMiB: 300 })).toEqual([])
    expect(fieldsOf({ display: 'std', displayMemoryMiB: 1 })).toEqual([])
    expect(fieldsOf({ display: 'bochs', displayMemoryMiB: 2 })).toEqual(['displayMemoryMiB'])
    const large = { displayResolution: { width: 3840, height: 2160 } }
    expect(fieldsOf({ display: 'bochs', displayMemoryMiB: 16, ...large })).toEqual(['displayMemoryMiB'])
    expect(fieldsOf({ display: 'bochs', displayMemoryMiB: 32, ...large })).toEqual([])
  })
})

describe('USB', () => {
  const disk = { disks: [{ device: 'disk', bus: 'usb' }] }
  it('whatever is on USB needs a controller', () => {
    expect(fieldsOf({ usbController: 'none' })).toEqual(['usbInput'])
    expect(fieldsOf({ usbController: 'none', usbInput: false })).toEqual([])
    expect(fieldsOf({ usbController: 'none', usbInput: false, ...disk })).toEqual(['disks.0.bus'])
    expect(fieldsOf({ usbController: 'none', usbInput: false, networks: [{ model: 'usb-net' }] })).toEqual([
      'networks.0.model',
    ])
    const stick = { hostDevices: [{ type: 'usb-id', vendor: '0001', product: '0002' }] }
    expect(fieldsOf({ usbController: 'none', usbInput: false, ...stick })).toEqual(['hostDevices.0.type'])
  })

  it('a port is one that the controller has, and holds one device', () => {
    const mouse = (port: number) => ({ inputs: [{ type: 'mouse', port }] })
    expect(fieldsOf({ ...mouse(15) })).toEqual([])
    expect(fieldsOf({ ...mouse(9), usbPorts: 8 })).toEqual(['inputs.0.port'])
    expect(fieldsOf({ ...mouse(7), usbController: 'ehci' })).toEqual(['inputs.0.port'])
    expect(fieldsOf({ ...mouse(3), usbController: 'uhci' })).toEqual(['inputs.0.port'])
    expect(fieldsOf({ ...mouse(2) })).toEqual(['inputs.0.port'])
    expect(fieldsOf({ inputs: [{ port: 5 }, { port: 5 }] })).toEqual(['inputs.1.port'])
  })

  it('a VM from before keeps the controller it had; without USB devices there is none', () => {
    const argvOf = (spec: VmSpec) => {
      const result = compile(compileInput(spec, capabilities))
      if (!result.ok) throw new Error(JSON.stringify(result.problems))
      return result.plan.options.flatMap((option) => option.argv)
    }
    expect(argvOf({ ...normalize({}), usbPorts: 4 })).toContain(
      '{"driver":"qemu-xhci","id":"usb","bus":"pcie.0","addr":"0xb"}',
    )
    expect(argvOf(normalize({ usbInput: false })).join(' ')).not.toContain('xhci')
  })

  it('a touch screen is on virtio, where QEMU has it', () => {
    const touch = (bus: string) => ({ inputs: [{ type: 'multitouch', bus }] })
    expect(fieldsOf(touch('usb'))).toEqual(['inputs.0.bus'])
    expect(fieldsOf(touch('virtio'))).toEqual([])
    expect(fieldsOf(touch('virtio'), capabilitiesOf('7.2'))).toEqual(['inputs.0.type'])
  })
})

describe('channels', () => {
  const channels = (...list: object[]) => ({ channels: list })
  it('ports are handed out and taken once', () => {
    expect(normalize(channels({}, {}, { device: 'isa-serial' })).channels.map(({ port }) => port)).toEqual([2, 3, 1])
    expect(fieldsOf(channels({ port: 4 }, { port: 4 }))).toEqual(['channels.1.port'])
    expect(fieldsOf(channels({ port: 1 }))).toEqual(['channels.0.port'])
    const com = { device: 'isa-serial' }
    expect(fieldsOf(channels({ ...com, port: 2 }, { ...com, port: 2 }))).toEqual(['channels.1.port'])
    expect(fieldsOf(channels({ ...com, port: 4 }))).toEqual(['channels.0.port'])
  })

  it('the clipboard has a port and a name of its own, and travels with a screen', () => {
    expect(fieldsOf({ clipboard: true, ...channels({ port: 30 }) })).toEqual(['channels.0.port'])
    expect(fieldsOf({ clipboard: false, ...channels({ port: 30 }) })).toEqual([])
    expect(fieldsOf({ clipboard: true, display: 'none' })).toEqual(['clipboard'])
    const without = { ...capabilities, features: { ...capabilities.features, vdagent: false } }
    expect(fieldsOf({ clipboard: true }, without)).toEqual(['clipboard'])
  })

  it('a name finds one port, and none is taken from the agent or the clipboard', () => {
    expect(fieldsOf(channels({ name: 'a' }, { name: 'a' }))).toEqual(['channels.1.name'])
    expect(fieldsOf(channels({ name: 'org.qemu.guest_agent.0' }))).toEqual(['channels.0.name'])
    expect(fieldsOf(channels({ name: 'com.redhat.spice.0' }))).toEqual(['channels.0.name'])
  })
})

describe('watchdogs, vsock, shares', () => {
  it('the watchdog of the chipset is for q35', () => {
    const watchdog = { model: 'itco', action: 'reset' }
    expect(fieldsOf({ watchdog })).toEqual([])
    expect(fieldsOf({ watchdog, machine: 'pc' })).toEqual(['watchdog.model'])
  })

  it('the action is the one QEMU is told', () => {
    for (const action of ['reset', 'shutdown', 'poweroff', 'pause', 'inject-nmi', 'none']) {
      const result = compile(compileInput(normalize({ watchdog: { model: 'i6300esb', action } }), capabilities))
      const argv = result.ok ? result.plan.options.flatMap((option) => option.argv) : []
      expect(argv).toContain(`watchdog=${action}`)
    }
  })

  it('vsock needs the kernel’s device, and says how to get it', () => {
    const host = { vhostNet: true, vhostVsock: false }
    expect(launchProblems({ vsock: { cid: 5 } }, { host })).toEqual([
      expect.stringMatching(/^vsock: .*modprobe vhost_vsock/),
    ])
    expect(launchProblems({ vsock: { cid: 5 } }, {})).toEqual([])
  })

  it('virtiofs needs its daemon; 9p does not', () => {
    const { tools } = compileInput(normalize({}), capabilities)
    const without = { tools: { ...tools, virtiofsd: null } }
    const share = (driver: string) => ({ shares: [{ source: '/srv/x', driver }] })
    expect(launchProblems(share('virtiofs'), without)).toEqual([expect.stringMatching(/^shares\.0\.driver: virtiofsd/)])
    expect(launchProblems(share('9p'), without)).toEqual([])
  })

  it('the C daemon is told to confine itself, and a read-only folder is mounted so', () => {
    const { tools } = compileInput(normalize({}), capabilities)
    const input = compileInput(
      normalize({ shares: [{ source: '/srv/a,b' }, { source: '/srv/w', readOnly: false }] }),
      capabilities,
    )
    const c = { path: '/usr/lib/qemu/virtiofsd', dialect: 'c' as const }
    const result = compile({ ...input, tools: { ...tools, virtiofsd: c } })
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    const [readOnly, written] = result.plan.helpers.map((helper) => helper.option.argv)
    expect(readOnly?.slice(-3)).toEqual([
      `--socket-path=${input.paths.dir}/fs1.sock`,
      '-o',
      'source=/srv/a\\,b,sandbox=chroot',
    ])
    expect(readOnly?.join(' ')).toContain('remount,bind,ro')
    expect(written?.join(' ')).not.toContain('remount')
    for (const argv of [readOnly, written]) expect(argv?.slice(0, 2)).toEqual(['/usr/bin/unshare', '--user'])
  })

  it.each(['/srv/../etc', '/srv/./x', '/srv//x', '/srv/', '/'])('a shared directory is not named %s', (source) => {
    expect(fieldsOf({ shares: [{ source }] })).toEqual(['shares.0.source'])
  })

  it('a tag finds one folder', () => {
    expect(
      fieldsOf({
        shares: [
          { source: '/a', tag: 't' },
          { source: '/b', tag: 't' },
        ],
      }),
    ).toEqual(['shares.1.tag'])
  })
})

describe('microvm', () => {
  const microvm = { machine: 'microvm' }
  it.each([
    ['display', { display: 'std' }],
    ['display', { display: 'virtio-vga' }],
    ['display', { display: 'qxl' }],
    ['sound', { sound: 'hda' }],
    ['serialDevice', { serialDevice: 'pci-serial' }],
    ['watchdog.model', { watchdog: { model: 'i6300esb', action: 'reset' } }],
    ['usbInput', { usbInput: true }],
    ['hostDevices.0.type', { hostDevices: [{ type: 'pci', address: '0000:01:00.0' }] }],
    ['channels.0.device', { channels: [{ device: 'isa-serial' }] }],
  ])('has no place for what needs PCI or USB: %s', (field, spec) => {
    expect(fieldsOf({ ...microvm, ...spec })).toContain(field)
  })

  it('takes the virtio kinds of everything', () => {
    const spec = {
      ...microvm,
      display: 'virtio-gpu',
      inputs: [{ type: 'tablet', bus: 'virtio' }],
      serialDevice: 'virtconsole',
      channels: [{}],
      vsock: { cid: 9 },
      shares: [{ source: '/srv/x', driver: '9p' }],
    }
    expect(refusals(spec)).toEqual([])
  })
})

it('the same device of the host twice is refused', () => {
  const stick = { type: 'usb-id', vendor: '0001', product: '0002' }
  expect(fieldsOf({ hostDevices: [stick, stick] })).toEqual(['hostDevices.1.type'])
})
