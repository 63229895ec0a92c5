import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from '../compile.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '../test-support.ts'
import { readFields } from './raw-args.ts'

const capabilities = capabilitiesOf('10.0')
const normalize = (rawArgs: readonly string[]) =>
  normalizeSpec(VmSpecInput.parse({ name: 'x', rawArgs }), factsFor(capabilities))

function refusal(...rawArgs: string[]): { field: string | undefined; message: string } | null {
  try {
    normalize(rawArgs)
    return null
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    return { field: error.field, message: error.message }
  }
}

describe('raw options', () => {
  it.each([
    [['-device', 'pvpanic,ioport=1285']],
    [['--device', 'pvpanic,ioport=1285']],
    [['-device', '{"driver":"virtio-rng-pci","bus":"pcie.0","addr":"0x1c"}']],
    [['-object', 'iothread,id=t0']],
    [['-global', 'nvme.mdts=5']],
    [['-global', 'driver=nvme,property=mdts,value=5']],
    [['-machine', 'hpet=off']],
    [['-smbios', 'type=2,manufacturer=A,,B']],
    [['-fw_cfg', 'name=opt/org.example/key,string=value']],
    [['-chardev', 'ringbuf,id=c0,size=4096', '-device', 'virtserialport,chardev=c0,name=x']],
    [['-overcommit', 'cpu-pm=on']],
    [['-k', 'de']],
    [['-mem-prealloc']],
  ])('%j is passed on, last and marked', (rawArgs) => {
    expect(refusal(...rawArgs)).toBeNull()
    const result = compile(compileInput(normalize(rawArgs), capabilities))
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    const argv = result.plan.options.flatMap((option) => option.argv)
    expect(argv.slice(-rawArgs.length)).toEqual(rawArgs.map((argument) => argument.replace(/^--/, '-')))
    expect(result.plan.options.at(-1)).toMatchObject({ group: 'raw', origin: 'choice' })
  })

  // Each of these has taken over a host, or would read or write its files.
  it.each([
    ['-incoming', 'exec:touch /tmp/x'],
    ['-D', '/etc/passwd'],
    ['-monitor', 'unix:/tmp/m,server,nowait'],
    ['-qmp', 'tcp:0.0.0.0:4444,server'],
    ['-mon', 'chardev=c'],
    ['-gdb', 'tcp::1234'],
    ['-serial', 'file:/etc/passwd'],
    ['-chardev', 'file,id=f,path=/etc/passwd'],
    ['-chardev', 'pipe,id=f,path=/tmp/p'],
    ['-chardev', 'socket,id=f,path=/run/x'],
    ['-chardev', 'null,id=f,logfile=/etc/passwd'],
    ['-chardev', 'ringbuf,id=f,logfile=/etc/passwd'],
    ['-plugin', '/tmp/x.so'],
    ['-fw_cfg', 'name=opt/x,file=/etc/shadow'],
    ['-fw_cfg', 'opt/x,file=/etc/shadow'],
    ['-fw_cfg', 'name=etc/acpi/tables,string=x'],
    ['-smbios', 'file=/etc/shadow'],
    ['-smbios', 'type=11,path=/etc/shadow'],
    ['-netdev', 'tap,id=n,script=/tmp/x'],
    ['-netdev', 'user,id=n,guestfwd=tcp:10.0.2.100:1234-cmd:/bin/sh'],
    ['-nic', 'tap,script=/tmp/x'],
    ['-drive', 'file=fat:/etc'],
    ['-blockdev', 'driver=vvfat,node-name=f,dir=/etc'],
    ['-hda', '/dev/sda'],
    ['-virtfs', 'local,path=/,mount_tag=x,security_model=none'],
    ['-fsdev', 'local,path=/,id=x,security_model=none'],
    ['-runas', 'root'],
    ['-chroot', '/'],
    ['-daemonize'],
    ['-pidfile', '/etc/passwd'],
    ['-S'],
    ['-nodefaults'],
    ['-name', 'x'],
    ['-uuid', '01890000-0000-7000-8000-000000000009'],
    ['-sandbox', 'off'],
    ['-no-shutdown'],
    ['-readconfig', '/tmp/x'],
    ['-loadvm', 'x'],
    ['-kernel', '/boot/vmlinuz'],
    ['-bios', '/etc/shadow'],
    ['-acpitable', 'file=/etc/shadow'],
    ['-option-rom', '/etc/shadow'],
    ['-trace', 'events=/etc/shadow,file=/etc/passwd'],
    ['-d', 'in_asm'],
    ['-set', 'device.disk0.drive=x'],
    ['-L', '/tmp'],
    ['-icount', 'shift=1,rr=record,rrfile=/etc/passwd'],
    ['-audiodev', 'wav,id=a,path=/etc/passwd'],
    ['-spice', 'port=5900,disable-ticketing=on'],
    ['-vnc', ':0'],
    ['-usbdevice', 'disk:/dev/sda'],
    ['-device', 'help'],
    ['-device', '?'],
    ['-device', 'vfio-pci,host=00:01.0'],
    ['-device', 'usb-host,hostbus=1,hostaddr=2'],
    ['-device', 'ivshmem-plain,memdev=m'],
    ['-device', 'vhost-user-fs-pci,chardev=c'],
    ['-device', 'loader,file=/etc/shadow,addr=0'],
    ['-device', 'virtio-net-pci,romfile=/etc/shadow'],
    ['-device', '{"driver":"virtio-net-pci","romfile":"/etc/shadow"}'],
    ['-device', 'virtio-blk-pci,drive=x,scsi=on'],
    ['-device', 'virtio-rng-pci,x-pcie-deverr-init=off'],
    ['-device', 'usb-kbd,pcap=/etc/passwd'],
    ['-object', 'memory-backend-file,id=m,size=1M,mem-path=/etc/shadow'],
    ['-object', 'filter-dump,id=f,netdev=n,file=/etc/passwd'],
    ['-object', 'secret,id=s,file=/etc/shadow'],
    ['-object', 'input-linux,id=i,evdev=/dev/input/event0'],
    ['-object', '{"qom-type":"monitor-qmp","id":"m","chardev":"mon0"}'],
    ['-global', 'virtio-net-pci.romfile=/etc/shadow'],
    ['-global', 'driver=usb-kbd,property=pcap,value=/etc/passwd'],
    ['-global', 'virtio-blk-pci.scsi=on'],
    ['-machine', 'dumpdtb=/etc/passwd'],
    ['-machine', 'kernel=/boot/vmlinuz'],
    ['-machine', 'pc'],
    ['-machine', 'accel=kvm'],
    ['-nosuchoption'],
    ['-constructor', 'x'],
  ])('%s %s is refused with the reason', (...rawArgs) => {
    const given = refusal(...rawArgs.filter((argument) => argument !== undefined))
    expect(given?.field).toBe('rawArgs.0')
    expect(given?.message).toMatch(/refused|not among|no device/)
  })

  it('microvm has no PCI bus for raw devices', () => {
    const input = { name: 'x', machine: 'microvm', rawArgs: ['-device', 'virtio-rng-pci'] }
    expect(() => normalizeSpec(VmSpecInput.parse(input), factsFor(capabilities))).toThrow('no PCI bus')
  })

  it('every refusal has its place, also behind options that may pass', () => {
    expect(refusal('-k', 'de', '-mem-prealloc', '-D', '/tmp/x')?.field).toBe('rawArgs.3')
    expect(refusal('stray')?.field).toBe('rawArgs.0')
    expect(refusal('-k', 'de', 'stray')?.field).toBe('rawArgs.2')
    expect(refusal('-device')?.field).toBe('rawArgs.0')
    expect(refusal('-k', 'd\ne')?.field).toBe('rawArgs.1')
  })

  it('a value is read as QEMU reads it', () => {
    expect([...(readFields('nvme,serial=a,,b,id=x', 'driver') ?? [])]).toEqual([
      ['driver', 'nvme'],
      ['serial', 'a,b'],
      ['id', 'x'],
    ])
    // Twice the same key: QEMU takes the last, a reader the first.
    expect(readFields('type=1,file=a,file=b', '')).toBeNull()
    expect(readFields('{"driver":"x","file":{"filename":"/etc"}}', '')?.get('file.filename')).toBe('/etc')
    expect(readFields('{broken', '')).toBeNull()
    expect(readFields('one,two', 'driver')).toBeNull()
  })
})
