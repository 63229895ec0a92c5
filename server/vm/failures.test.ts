import { describe, expect, test } from 'vitest'
import { type Evidence, explain, launchErrorCode, redact, stderrTail } from './failures.ts'

/** What QEMU 7.2.22 of Debian 12 really wrote, with the exit code it left. */
const BLOCKDEV = (file: string) =>
  `2026-11-23T21:25:43.259098Z qemu-system-x86_64: -blockdev {"driver":"qcow2","node-name":"d0","backing":null,"file":{"driver":"file","filename":"${file}","locking":"on"}}: `
const DISK = '/srv/guestdeck/vms/0190/disk0.qcow2'

const REAL: readonly [title: string, code: string, summary: RegExp, stderr: string, exitCode?: number][] = [
  [
    'a missing image',
    'image-missing',
    /the disk "disk0"/,
    `${BLOCKDEV(DISK)}Could not open '${DISK}': No such file or directory`,
  ],
  [
    'an image that is not what it should be',
    'exit',
    /format \(qcow2\)/,
    `${BLOCKDEV(DISK)}Image is not in qcow2 format`,
  ],
  ['a damaged image header', 'exit', /damaged/, `${BLOCKDEV(DISK)}Unsupported qcow2 version 4294967295`],
  [
    'an image another QEMU writes to',
    'image-in-use',
    /using the disk "disk0"/,
    `${BLOCKDEV(DISK)}Failed to get "write" lock\nIs another process using the image [${DISK}]?`,
  ],
  [
    'an image another QEMU writes to, opened for reading',
    'image-in-use',
    /Another program/,
    `${BLOCKDEV(DISK)}Failed to get shared "write" lock\nIs another process using the image [${DISK}]?`,
  ],
  [
    'a kernel that forbids io_uring',
    'host-resource',
    /io_uring/,
    `${BLOCKDEV(DISK)}Unable to use io_uring: failed to init linux io_uring ring`,
  ],
  [
    'a file system without direct I/O',
    'host-resource',
    /file system of the disk "disk0"/,
    `${BLOCKDEV(DISK)}Could not open '${DISK}': filesystem does not support O_DIRECT`,
  ],
  [
    'a boot ROM that is not installed',
    'host-resource',
    /efi-virtio\.rom/,
    'qemu-system-x86_64: -device {"driver":"virtio-net-pci"}: failed to find romfile "efi-virtio.rom"',
  ],
  [
    'a tap of another kind',
    'host-resource',
    /tap gd0jms4guo1io0f .*Invalid argument/,
    'qemu-system-x86_64: -netdev {"type":"tap"}: could not configure /dev/net/tun (gd0jms4guo1io0f): Invalid argument',
  ],
  [
    'a tun device that is root’s alone',
    'host-resource',
    /dev\/net\/tun.*Permission denied/,
    'qemu-system-x86_64: -netdev {"type":"tap"}: could not open /dev/net/tun: Permission denied',
  ],
  [
    'a second QEMU of the same VM',
    'image-in-use',
    /still running/,
    '2026-11-23T21:25:43.940873Z qemu-system-x86_64: cannot create PID file: Cannot lock pid file: Resource temporarily unavailable',
  ],
  [
    'a host port that is taken',
    'port-in-use',
    /Port 18765 \(TCP\)/,
    `2026-11-23T21:25:44.389339Z qemu-system-x86_64: -netdev {"type":"user","id":"n0","hostfwd":[{"str":"tcp:127.0.0.1:18765-:22"}]}: Could not set up host forwarding rule 'tcp:127.0.0.1:18765-:22'`,
  ],
  [
    'more memory than there is',
    'out-of-memory',
    /memory/,
    "2026-11-23T21:25:44.442818Z qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory",
  ],
  [
    'more shared memory than there is',
    'out-of-memory',
    /memory/,
    '2026-11-23T21:25:44.482572Z qemu-system-x86_64: unable to map backing store for guest RAM: Cannot allocate memory',
  ],
  [
    'no memory for translated code',
    'out-of-memory',
    /memory/,
    '2026-11-23T21:25:44.763161Z qemu-system-x86_64: -accel tcg: allocate 1073741824 bytes for jit buffer: Cannot allocate memory',
  ],
  ['an option it does not know', 'bad-option', /option/, 'qemu-system-x86_64: -frobnicate: invalid option'],
  [
    'a device it does not have',
    'bad-option',
    /option/,
    "2026-11-23T21:25:44.543878Z qemu-system-x86_64: -device frob: 'frob' is not a valid device model name",
  ],
  [
    'a property it does not have',
    'bad-option',
    /option/,
    `2026-11-23T21:25:44.571400Z qemu-system-x86_64: -device {"driver":"virtio-blk-pci","frob":1}: Property 'virtio-blk-pci.frob' not found`,
  ],
  [
    'a machine type it does not have',
    'bad-option',
    /machine type/,
    '2026-11-23T21:25:44.591383Z qemu-system-x86_64: unsupported machine type\nUse -machine help to list supported machines',
  ],
  [
    'a CPU model it does not have',
    'bad-option',
    /"frobcpu"/,
    "2026-11-23T21:25:44.612687Z qemu-system-x86_64: unable to find CPU model 'frobcpu'",
  ],
  [
    'a CPU model that needs KVM',
    'bad-option',
    /"host" needs KVM/,
    "2026-11-23T21:25:44.633800Z qemu-system-x86_64: CPU model 'host' requires KVM or HVF",
  ],
  [
    'an image its user may not open',
    'permission-denied',
    /may not open the disk "disk0"/,
    `${BLOCKDEV(DISK)}Could not open '${DISK}': Permission denied`,
  ],
  [
    'no permission for /dev/kvm (F37)',
    'permission-denied',
    /\/dev\/kvm/,
    'Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied',
  ],
  [
    'no KVM at all',
    'exit',
    /KVM is not available/,
    'Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: No such file or directory',
  ],
  [
    'a missing firmware',
    'image-missing',
    /firmware file …\/nonexistent\.rom/,
    "qemu: could not load PC BIOS '/usr/share/x/nonexistent.rom'",
  ],
  [
    'a program the wrapper cannot find',
    'qemu-missing',
    /not installed/,
    'setpriv: failed to execute /nonexist/qemu: No such file or directory',
    127,
  ],
  ['a program the shell cannot find', 'qemu-missing', /not installed/, 'sh: 1: exec: /nonexist/qemu: not found', 127],
  [
    'a PCI device that is not there',
    'host-resource',
    /no PCI device 0000:03:00\.0/,
    '2026-11-24T00:36:42.160806Z qemu-system-x86_64: -device {"driver":"vfio-pci","id":"gpu","bus":"rp1","addr":"0x0","host":"0000:03:00.0"}: vfio /sys/bus/pci/devices/0000:03:00.0: no such host device: No such file or directory',
  ],
  [
    'a PCI device on a host without IOMMU',
    'host-resource',
    /0000:00:02\.0 is in no IOMMU group/,
    '2026-11-24T00:36:42.160806Z qemu-system-x86_64: -device {"driver":"vfio-pci","id":"gpu","bus":"rp1","addr":"0x0","host":"0000:00:02.0"}: vfio 0000:00:02.0: no iommu_group found: No such file or directory',
  ],
  [
    'a mediated device that is not there',
    'host-resource',
    /no such mediated device/,
    'qemu-system-x86_64: -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001: vfio /sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001: no such host device: No such file or directory',
  ],
  [
    'vsock without the kernel’s device',
    'host-resource',
    /no \/dev\/vhost-vsock/,
    'qemu-system-x86_64: -device {"driver":"vhost-vsock-pci","id":"vsock0","bus":"pcie.0","addr":"0x10","guest-cid":42}: vhost-vsock: failed to open vhost device: No such file or directory',
  ],
  [
    'vsock without the kernel’s device, by QEMU 11.1',
    'host-resource',
    /no \/dev\/vhost-vsock/,
    `qemu-system-x86_64: -device {"driver":"vhost-vsock-pci","id":"vsock0","guest-cid":42}: Could not open '/dev/vhost-vsock': No such file or directory`,
  ],
  [
    'a shared folder that has gone',
    'host-resource',
    /shared folder “docs” cannot be opened/,
    `qemu-system-x86_64: -device {"driver":"virtio-9p-pci","id":"docs"}: cannot initialize fsdev 'docs.fs': failed to open '/srv/x': No such file or directory`,
  ],
  [
    'a shared folder that others may not enter, by QEMU 11.1',
    'host-resource',
    /shared folder “docs” cannot be opened/,
    `qemu-system-x86_64: -device virtio-9p-pci,fsdev=docs.fs,mount_tag=x: cannot initialize fsdev 'docs.fs': Could not open '/srv/x': Permission denied`,
  ],
]

const names = new Map([[DISK, 'the disk "disk0"']])
const launchEvidence = (more: Partial<Evidence>): Evidence => ({
  phase: 'launch',
  exitCode: 1,
  signal: null,
  stderr: '',
  names,
  ...more,
})

describe('a launch that failed is explained', () => {
  test.each(REAL)('%s', (_, code, summary, stderr, exitCode = 1) => {
    const explanation = explain(launchEvidence({ stderr, exitCode }))
    expect(explanation.code).toBe(code)
    expect(explanation.summary).toMatch(summary)
    expect(explanation.advice).not.toBe('')
    expect(explanation.summary + explanation.advice).not.toContain('/srv')
  })
  // From QEMU's source: no machine at hand has the hardware.
  test.each([
    [
      'a group in use',
      /IOMMU group 7/,
      'vfio 0000:03:00.0: group 7 is not viable\nPlease ensure all devices within the iommu_group are bound to their vfio bus driver.',
    ],
    [
      'a group of another guest',
      /Another program has the PCI/,
      'vfio 0000:03:00.0: failed to open /dev/vfio/7: Device or resource busy',
    ],
    [
      'a group that is root’s',
      /may not open \/dev\/vfio/,
      'vfio 0000:03:00.0: failed to open /dev/vfio/7: Permission denied',
    ],
    [
      'no room for locked memory',
      /all of the guest’s memory/,
      'vfio 0000:03:00.0: failed to setup container for group 7: memory listener initialization failed: Region pc.ram: vfio_dma_map(0x55, 0x0, 0xa0000, 0x7f) = -12 (Cannot allocate memory)',
    ],
    ['a vsock address twice', /same vsock address/, 'vhost-vsock: unable to set guest cid: Address already in use'],
  ])('%s', (_, summary, stderr) => {
    expect(explain(launchEvidence({ stderr }))).toMatchObject({
      code: 'host-resource',
      summary: expect.stringMatching(summary),
    })
  })

  test('a program that is not there', () => {
    expect(explain(launchEvidence({ exitCode: null, spawnError: 'ENOENT' })).code).toBe('qemu-missing')
  })
  test('a host that cannot start another process (F39)', () => {
    expect(explain(launchEvidence({ exitCode: null, spawnError: 'EAGAIN' })).code).toBe('out-of-memory')
  })
  test('silence is a timeout', () => {
    expect(explain(launchEvidence({ exitCode: null, timedOut: true })).code).toBe('timeout')
  })
  test('an exit nobody knows the reason of still says its code', () => {
    expect(explain(launchEvidence({ exitCode: 3 })).summary).toContain('exit code 3')
  })
  test('causes that somebody can act on have their own error code', () => {
    expect(
      ['port-in-use', 'image-in-use', 'image-missing', 'bad-option'].map((code) => launchErrorCode(code as never)),
    ).toEqual(['port_in_use', 'image_in_use', 'image_missing', 'launch_failed'])
  })
})

describe('a process that ended unasked is explained', () => {
  const run = (more: Partial<Evidence>) => explain({ phase: 'run', exitCode: null, signal: null, stderr: '', ...more })
  test('the sandbox, which leaves no message', () => {
    expect(run({ signal: 'SIGSYS' }).code).toBe('sandbox-kill')
  })
  test('KVM that gave up, by run state and by message', () => {
    expect(run({ runState: 'internal-error' }).code).toBe('kvm-internal-error')
    const text = 'KVM internal error. Suberror: 1\nemulation failure\nRAX=0000000000000000 RBX=0000000000000000'
    expect(run({ stderr: text, exitCode: 1 }).code).toBe('kvm-internal-error')
  })
  test('the OOM killer is told from any other SIGKILL (F38)', () => {
    expect(run({ signal: 'SIGKILL', oomKill: true }).code).toBe('out-of-memory')
    expect(run({ signal: 'SIGKILL' })).toMatchObject({ code: 'signal', summary: expect.stringContaining('SIGKILL') })
  })
  test('messages are pointed at only when there are some', () => {
    expect(run({}).advice).not.toMatch(/below/)
    expect(run({ stderr: 'something nobody knows' }).advice).toMatch(/below/)
  })
  test('a fault in QEMU says so', () => {
    expect(run({ signal: 'SIGSEGV' }).summary).toContain('SIGSEGV')
  })
})

describe('what QEMU wrote is shown without host paths', () => {
  test('known files by their names, others by their last part', () => {
    expect(redact(`open '${DISK}' and /var/lib/x/y.iso: no`, names)).toBe(`open 'the disk "disk0"' and …/y.iso: no`)
  })
  test('quoted paths with spaces', () => {
    expect(redact("Could not open '/srv/my images/a b.iso': no")).toBe("Could not open '…/a b.iso': no")
  })
  test('paths inside JSON', () => {
    expect(redact('{"filename":"/srv/x/a.qcow2","n":1}')).toBe('{"filename":"…/a.qcow2","n":1}')
  })
  test('options that QEMU repeats are left out', () => {
    const text = `qemu-system-x86_64: -netdev {"type":"user","id":"n0"}: Could not set up: no`
    expect(redact(text)).toBe('qemu-system-x86_64: -netdev {…}: Could not set up: no')
  })
  test('devices and things that are no paths stay', () => {
    expect(redact('/dev/kvm: read/write 1/2')).toBe('/dev/kvm: read/write 1/2')
  })
  test('control characters do not reach a terminal or a page', () => {
    expect(redact('a\u001b[31mb\u0000c')).toBe('a [31mb c')
  })
  test('only the last 4 KiB are kept, from a whole line on', () => {
    const tail = stderrTail(Array.from({ length: 1000 }, (_, n) => `line ${n}`).join('\n'))
    expect(Buffer.byteLength(tail)).toBeLessThanOrEqual(4096)
    expect(tail).toMatch(/^line \d+\n/)
    expect(tail).toMatch(/line 999$/)
  })
})
