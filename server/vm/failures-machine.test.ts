import { describe, expect, test } from 'vitest'
import { explain } from './failures.ts'

const Q = 'qemu-system-x86_64: '

/** What QEMU 7.2, 10.0 and 11.1, swtpm 0.7.1 and virtiofsd 7.2 really wrote. */
const REAL: readonly [title: string, code: string, summary: RegExp, stderr: string][] = [
  [
    "a TPM state in another's hands",
    'helper-failed',
    /Another program/,
    `swtpm: SWTPM_NVRAM_Lock_Dir: Could not lock access to lockfile: Resource temporarily unavailable
swtpm: Error: Could not initialize libtpms.
swtpm: Error: Could not initialize the TPM

${Q}tpm-emulator: TPM result for CMD_INIT: 0x9 operation failed`,
  ],
  [
    'a damaged TPM state',
    'helper-failed',
    /damaged/,
    `libtpms/tpm2: NV_HEADER_UnmarshalVerbose: Invalid magic. Expected 0xab364723, got 0x74206120
libtpms/tpm2: Entering failure mode; code: 8, location: NvPowerOn line 126
${Q}tpm-emulator: TPM result for CMD_INIT: 0x101 operation failed`,
  ],
  [
    'a shared folder that may not be entered',
    'permission-denied',
    /directory of a shared folder/,
    `virtio_session_mount: Received vhost-user socket connection
chroot("/srv/denied"): Permission denied

${Q}-device vhost-user-fs-pci,chardev=c,tag=x: Failed to write msg. Wrote -1 instead of 12.
${Q}-device vhost-user-fs-pci,chardev=c,tag=x: vhost_backend_init failed: Protocol error`,
  ],
  [
    'a virtiofsd that gives up',
    'helper-failed',
    /gave up/,
    `${Q}-device vhost-user-fs-pci,chardev=c,tag=x: Failed to write msg. Wrote -1 instead of 12.`,
  ],
  [
    'huge pages the host does not have',
    'out-of-memory',
    /memory/,
    `${Q}unable to map backing store for guest RAM: Cannot allocate memory`,
  ],
  [
    'a host NUMA node that is not there',
    'host-resource',
    /NUMA node/,
    `${Q}cannot bind memory to host NUMA nodes: Invalid argument`,
  ],
  [
    'one memory module too many',
    'bad-option',
    /no slot left/,
    `${Q}-device pc-dimm,memdev=b,id=d1: no free slots available`,
  ],
  [
    'a memory module without slots',
    'bad-option',
    /no slot left/,
    `${Q}-device pc-dimm,memdev=a,id=d0: no slots where allocated, please specify the 'slots' option`,
  ],
  [
    'memory modules beyond the limit',
    'bad-option',
    /more room/,
    `${Q}-device pc-dimm,memdev=a,id=d0: not enough space, currently 0x0 in use of total space for memory devices 0x4000000`,
  ],
  [
    'a CPU model beyond emulation',
    'bad-option',
    /emulation/,
    `${Q}warning: TCG doesn't support requested feature: CPUID.0DH:EAX.xsavec [bit 1]
${Q}TCG doesn't support requested features`,
  ],
  [
    'a tap somebody has open',
    'host-resource',
    /tap gdx/,
    `${Q}-netdev tap,id=n,ifname=gdx,script=no,downscript=no: could not configure /dev/net/tun (gdx): Device or resource busy`,
  ],
  [
    'vhost-net missing, as QEMU 10.0 says it',
    'host-resource',
    /no \/dev\/vhost-net/,
    `${Q}-netdev tap,id=n,ifname=gdx,vhost=on: tap: open vhost char device failed: No such file or directory`,
  ],
  [
    'vhost-net missing, as QEMU 11.1 says it',
    'host-resource',
    /no \/dev\/vhost-net/,
    `${Q}-netdev tap,id=n,ifname=gdx,vhost=on: Could not open '/dev/vhost-net': No such file or directory`,
  ],
]

describe('a start that failed is explained', () => {
  test.each(REAL)('%s', (_, code, summary, stderr) => {
    const told = explain({ phase: 'launch', exitCode: 1, signal: null, stderr })
    expect(told).toMatchObject({ code, summary: expect.stringMatching(summary) })
    expect(told.advice).not.toBe('')
  })
})
