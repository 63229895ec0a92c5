/** Every option of virt-manager's desktop guest is in our command line or accounted for in `reference-desktop.md`. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { capturedCapabilities } from './test-support.ts'

const read = (name: string) => readFileSync(new URL(`./__golden__/${name}`, import.meta.url), 'utf8')
const document = read('reference-desktop.md')

/** First cells of the table under a heading. */
function rowsOf(heading: string): string[] {
  const section = document.split('\n## ').find((part) => part.startsWith(heading)) ?? ''
  return [...section.matchAll(/^\| (.+?) \|/gm)].map((match) => match[1] ?? '').filter((cell) => cell !== 'reference')
}

/** A `-device` of this driver with these properties, in any order. */
const device =
  (driver: string, properties: Readonly<Record<string, unknown>> = {}) =>
  (line: string): boolean => {
    const json = /^-device '(.*)'$/.exec(line)?.[1]
    if (json === undefined) return false
    const found: Record<string, unknown> = JSON.parse(json)
    return found.driver === driver && Object.entries(properties).every(([name, value]) => found[name] === value)
  }
const exactly = (text: string) => (line: string) => line === text
const matches = (pattern: RegExp) => (line: string) => pattern.test(line)

interface Part {
  /** As the first column of its table has it. */
  readonly row: string
  /** Lines of ours that stand for it, and how many there are of them. */
  readonly ours: (line: string) => boolean
  readonly count?: number
}

const FLAGS_ON =
  'ss vmx pdcm hypervisor tsc-adjust clflushopt umip md-clear stibp arch-capabilities ssbd xsaves pdpe1gb ibpb amd-ssbd rdctl-no ibrs-all skip-l1dfl-vmentry mds-no'
const FLAGS = [...FLAGS_ON.split(' ').map((flag) => `${flag}=on`), 'hle=off', 'rtm=off']

const SAME: readonly Part[] = [
  { row: '`-name guest=…,debug-threads=on`', ours: matches(/^-name guest=[0-9a-f-]{36},debug-threads=on$/) },
  { row: '`-S`', ours: exactly('-S') },
  {
    row: '`-machine …,usb=off,vmport=off,dump-guest-core=off`',
    ours: matches(/^-machine pc-q35-[0-9.]+,usb=off,vmport=off,dump-guest-core=off,/),
  },
  { row: '`-cpu Skylake-Client-IBRS`', ours: matches(/^-cpu Skylake-Client-IBRS,/) },
  {
    row: '`-cpu` flags',
    ours: (line) => line.startsWith('-cpu ') && line.split(',').slice(1).sort().join() === [...FLAGS].sort().join(),
  },
  { row: '`-overcommit mem-lock=off`', ours: exactly('-overcommit mem-lock=off') },
  { row: '`-smp 7,sockets=7,cores=1,threads=1`', ours: exactly('-smp cpus=7,sockets=7,cores=1,threads=1') },
  { row: '`-uuid`', ours: matches(/^-uuid [0-9a-f-]{36}$/) },
  { row: '`-no-user-config`', ours: exactly('-no-user-config') },
  { row: '`-nodefaults`', ours: exactly('-nodefaults') },
  { row: '`-rtc base=utc,driftfix=slew`', ours: exactly('-rtc base=utc,driftfix=slew') },
  { row: '`-global kvm-pit.lost_tick_policy=delay`', ours: exactly('-global kvm-pit.lost_tick_policy=delay') },
  { row: '`-no-shutdown`', ours: exactly('-no-shutdown') },
  { row: '`-global ICH9-LPC.disable_s3=1`', ours: exactly('-global ICH9-LPC.disable_s3=1') },
  { row: '`-global ICH9-LPC.disable_s4=1`', ours: exactly('-global ICH9-LPC.disable_s4=1') },
  { row: '`-boot strict=on`', ours: exactly('-boot strict=on') },
  { row: '`pcie-root-port` (seven)', ours: device('pcie-root-port', { bus: 'pcie.0' }), count: 7 },
  { row: '`qemu-xhci,p2=15,p3=15`', ours: device('qemu-xhci', { p2: 15, p3: 15 }) },
  { row: '`virtio-serial-pci`', ours: device('virtio-serial-pci') },
  { row: '`virtio-blk-pci`', ours: device('virtio-blk-pci', { bootindex: 1 }) },
  {
    row: '`-blockdev qcow2`, `discard=unmap`',
    ours: matches(/^-blockdev '\{"driver":"qcow2","node-name":"disk0.*"discard":"unmap"/),
  },
  { row: '`ide-cd`', ours: device('ide-cd', { drive: undefined }) },
  { row: '`virtio-net-pci`', ours: device('virtio-net-pci') },
  { row: '`isa-serial`', ours: device('isa-serial', { index: 0 }) },
  {
    row: '`virtserialport org.qemu.guest_agent.0`',
    ours: device('virtserialport', { name: 'org.qemu.guest_agent.0' }),
  },
  { row: '`virtserialport com.redhat.spice.0`', ours: device('virtserialport', { name: 'com.redhat.spice.0' }) },
  { row: '`usb-tablet`', ours: device('usb-tablet') },
  {
    row: '`qxl-vga`',
    ours: device('qxl-vga', { ram_size_mb: 64, vram_size_mb: 64, vgamem_mb: 16, max_outputs: 1 }),
  },
  { row: '`ich9-intel-hda`', ours: device('ich9-intel-hda') },
  { row: '`hda-duplex`', ours: device('hda-duplex') },
  { row: '`virtio-balloon-pci`', ours: device('virtio-balloon-pci') },
  { row: '`rng-random`', ours: matches(/^-object .*"rng-random".*"filename":"\/dev\/urandom"/) },
  { row: '`virtio-rng-pci`', ours: device('virtio-rng-pci') },
  {
    row: '`-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny`',
    ours: exactly('-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'),
  },
  { row: '`-msg timestamp=on`', ours: exactly('-msg timestamp=on') },
]

const OTHERWISE: readonly Part[] = [
  { row: '`-machine pc-q35-4.2`', ours: matches(/^-machine pc-q35-/) },
  { row: '`accel=kvm`', ours: exactly('-accel kvm') },
  { row: '`pflash0 OVMF_CODE.fd`', ours: matches(/^-blockdev .*"pflash0".*OVMF_CODE/) },
  { row: '`pflash1 …_VARS.fd`', ours: matches(/^-blockdev .*"qcow2","node-name":"pflash1"/) },
  { row: '`-m 6144`', ours: exactly('-m 6144M') },
  { row: 'QMP `socket`', ours: matches(/^-chardev socket,id=mon/), count: 2 },
  { row: '`-netdev tap,vhost=on` with file descriptors', ours: matches(/^-netdev .*"tap".*"vhost":true/) },
  { row: '`isa-serial` on a `pty`', ours: matches(/^-chardev socket,id=serial0/) },
  { row: '`spicevmc` behind `com.redhat.spice.0`', ours: matches(/^-chardev qemu-vdagent,/) },
  { row: '`-spice` on 127.0.0.1 without password', ours: matches(/^-vnc unix:/) },
  {
    row: '`virtio-serial-pci`, `virtio-balloon-pci`, `virtio-rng-pci`, `qemu-xhci` on root ports',
    ours: (line) =>
      ['virtio-serial-pci', 'virtio-balloon-pci', 'virtio-rng-pci', 'qemu-xhci'].some((driver) =>
        device(driver, { bus: 'pcie.0' })(line),
      ),
    count: 4,
  },
]

/** What must not be there, since the document says so. */
const LEFT_OUT: readonly (readonly [row: string, pattern: RegExp])[] = [
  ['`-object secret` (master key)', /"secret"/],
  ['`usb-redir` (two)', /usb-redir/],
  ['`-no-hpet`', /hpet/],
]

describe('the reference desktop', () => {
  it('is accounted for option by option, and nothing stands in the document that is not checked', () => {
    expect(rowsOf('The same')).toEqual(SAME.map((part) => part.row))
    expect(rowsOf('Otherwise')).toEqual(OTHERWISE.map((part) => part.row))
    expect(rowsOf('Left out')).toEqual(LEFT_OUT.map(([row]) => row))
  })

  for (const version of capturedCapabilities().keys()) {
    const lines = read(`reference-desktop.qemu-${version}.sh`)
      .split('\n')
      .map((line) => line.trim().replace(/ \\$/, ''))
    it.each([...SAME, ...OTHERWISE])(`QEMU ${version} has it: $row`, ({ ours, count = 1 }) => {
      expect(lines.filter(ours)).toHaveLength(count)
    })
    it.each(LEFT_OUT)(`QEMU ${version} is without: %s`, (_, pattern) => {
      expect(lines.filter((line) => pattern.test(line))).toEqual([])
    })
  }
})
