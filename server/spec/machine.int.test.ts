/** Machine, firmware, CPU and memory, as a real guest on the compiled command line sees them. */
import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { ensureDeviceGuest, ensureGuestIso } from '#e2e/guests/build.ts'
import type { GuestShell } from '#e2e/guests/guest-shell.ts'
import { MIB } from '#lib/units.ts'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { ISO_ID } from './test-support.ts'

/** Software emulation on a busy machine: generous, and only ever waited for in full when something is wrong. */
const BOOT_TIMEOUT_MS = 170_000
const TEN_YEARS = 315_576_000

const directKernel = async (more = '') => {
  const { kernel, initrd, commandLine } = await ensureDeviceGuest()
  return { kernel, initrd, commandLine: `${commandLine} ${more}`.trim() }
}

/** Small and with nothing but a serial port; tests add what they are about. */
const SMALL = {
  guest: 'linux',
  accelerator: 'tcg',
  memoryMiB: 384,
  display: 'none',
  networks: [],
  usbInput: false,
  agentChannel: false,
  rng: false,
  spareRootPorts: 0,
}

describe('q35 with everything of the board, its CPUs and its memory', () => {
  let guest: CompiledGuest
  let shell: GuestShell
  beforeAll(async () => {
    guest = await CompiledGuest.start({
      ...SMALL,
      directKernel: await directKernel('intel_iommu=on'),
      serialDevice: 'isa-serial',
      cpus: 3,
      maxCpus: 8,
      topology: { sockets: 2, cores: 2, threads: 2 },
      cpuModel: 'Skylake-Client',
      cpuFlags: [
        { name: 'avx2', enabled: false },
        { name: 'sse4.2', enabled: true },
      ],
      numa: [
        { cpus: '0-3', memoryMiB: 256, hostNodes: null },
        { cpus: '4-7', memoryMiB: 128, hostNodes: null },
      ],
      memoryMaxMiB: 2048,
      dimms: [{ sizeMiB: 128 }],
      virtioMem: { sizeMiB: 512, requestedMiB: 128 },
      balloonTargetMiB: 448,
      freePageReporting: true,
      smbios: {
        manufacturer: 'Büro, Inc.',
        product: 'a=b,,c',
        version: null,
        serial: 'S-1',
        sku: null,
        family: 'Test',
        oemStrings: ['one,two', 'path=/etc/hostname'],
      },
      clockOffsetSeconds: TEN_YEARS,
      tpm: 'tpm-crb',
      iommu: 'intel',
      pvpanic: true,
      ps2: false,
    })
    shell = await guest.boot(BOOT_TIMEOUT_MS)
  }, BOOT_TIMEOUT_MS)
  afterAll(() => guest?.[Symbol.asyncDispose]())

  it('three of eight CPUs are there, in sockets of two cores with two threads', async () => {
    expect(await shell.output('cat /sys/devices/system/cpu/online /sys/devices/system/cpu/possible')).toBe('0-2\n0-7')
    const topology = '/sys/devices/system/cpu/cpu0/topology'
    expect(await shell.output(`cat ${topology}/thread_siblings_list ${topology}/core_siblings_list`)).toBe('0-1\n0-2')
  })

  it('the model has the single flags as they were switched', async () => {
    const cpuinfo = await shell.output('cat /proc/cpuinfo')
    expect(cpuinfo).toMatch(/model name\s*: Intel Core Processor \(Skylake\)/)
    const flags = new Set(/^flags\s*: (.*)$/m.exec(cpuinfo)?.[1]?.split(' '))
    expect(flags).toContain('avx')
    expect(flags).toContain('sse4_2')
    expect(flags).not.toContain('avx2')
  })

  it('two nodes share CPUs and memory', async () => {
    const node = '/sys/devices/system/node'
    expect(await shell.output(`cat ${node}/online ${node}/node0/cpulist`)).toBe('0-1\n0-2')
    const totalKiB = Number(/MemTotal:\s+(\d+)/.exec(await shell.output(`cat ${node}/node1/meminfo`))?.[1])
    expect(totalKiB).toBeGreaterThan(32 * 1024)
    expect(totalKiB).toBeLessThanOrEqual(128 * 1024)
  })

  it('a DIMM and virtio-mem bring memory, and virtio-mem more when asked', async () => {
    const devices = await guest.qmp.execute('query-memory-devices')
    expect(devices).toEqual(
      expect.arrayContaining([
        { type: 'dimm', data: expect.objectContaining({ id: 'dimm0', size: 128 * MIB }) },
        { type: 'virtio-mem', data: expect.objectContaining({ id: 'vmem0', 'max-size': 512 * MIB }) },
      ]),
    )
    const plugged = async () => {
      const path = '/machine/peripheral/vmem0'
      return z.number().parse(await guest.qmp.execute('qom-get', { path, property: 'size' })) / MIB
    }
    await shell.until('cat /proc/iomem', /System RAM \(virtio_mem\)/)
    await expect.poll(plugged, { timeout: 60_000 }).toBe(128)
    await guest.qmp.execute('qom-set', {
      path: '/machine/peripheral/vmem0',
      property: 'requested-size',
      value: 256 * MIB,
    })
    await expect.poll(plugged, { timeout: 60_000 }).toBe(256)
    expect(await shell.output('ls /sys/bus/acpi/devices')).toMatch(/PNP0C80/)
  })

  it('the balloon leaves what the target says', async () => {
    await expect
      .poll(async () => Number((await guest.qmp.execute('query-balloon')).actual) / MIB, { timeout: 60_000 })
      .toBe(448)
  })

  it('free pages are reported to the host', async () => {
    // virtio 1.2, 5.5.3: VIRTIO_BALLOON_F_REPORTING is bit 5.
    const features = await shell.output(
      'for d in /sys/bus/virtio/drivers/virtio_balloon/virtio*; do head -c 6 $d/features; done',
    )
    expect(features).toMatch(/^[01]{5}1$/)
  })

  it('firmware tells the strings, commas and all', async () => {
    const dmi = '/sys/class/dmi/id'
    expect(await shell.output(`cd ${dmi}; cat sys_vendor product_name product_serial product_family`)).toBe(
      'Büro, Inc.\na=b,,c\nS-1\nTest',
    )
    expect(await shell.output(`cat ${dmi}/product_uuid`)).toBe(guest.input.vmId)
    const oem = await shell.output('strings -n 3 /sys/firmware/dmi/tables/DMI')
    expect(oem).toContain('one,two')
    expect(oem).toContain('path=/etc/hostname')
  })

  it('the clock is ten years ahead', async () => {
    const seconds = Number(await shell.output('cat /sys/class/rtc/rtc0/since_epoch'))
    const ahead = seconds - Date.now() / 1000
    expect(Math.abs(ahead - TEN_YEARS)).toBeLessThan(600)
  })

  it('the TPM answers as version 2', async () => {
    expect(await shell.output('ls -l /dev/tpm0; cat /sys/class/tpm/tpm0/tpm_version_major')).toMatch(/\n2$/)
  })

  it('the IOMMU puts devices in groups', async () => {
    expect(Number(await shell.output('ls /sys/kernel/iommu_groups | wc -l'))).toBeGreaterThan(2)
  })

  it('there is no PS/2 keyboard or mouse', async () => {
    expect(await shell.output('ls /sys/bus/serio/devices')).toBe('')
  })

  it('last of all, a panic of the kernel is told to the host', async () => {
    expect(await shell.output('lspci')).toMatch(/^0000:00:12\.0 .* pvpanic-pci$/m)
    shell.send('echo c > /proc/sysrq-trigger\n')
    await guest.event('GUEST_PANICKED')
    await expect
      .poll(async () => (await guest.qmp.execute('query-status')).status, { timeout: 20_000 })
      .toBe('guest-panicked')
  })
})

describe('the reference desktop', () => {
  it('boots, and the guest finds every device', async () => {
    const golden = new URL('./__golden__/reference-desktop.json', import.meta.url)
    const { spec } = z.object({ spec: z.looseObject({}) }).parse(JSON.parse(readFileSync(golden, 'utf8')))
    // Without KVM and without the host's bridge; with a kernel, because its disk is empty.
    await using guest = await CompiledGuest.start({
      ...spec,
      accelerator: 'tcg',
      networks: [{ model: 'virtio-net' }],
      directKernel: await ensureDeviceGuest(),
    })
    const shell = await guest.boot(BOOT_TIMEOUT_MS)
    const pci = await shell.output('lspci')
    for (const line of [
      /^0000:00:01\.0 030000 1b36:0100 .* qxl$/m,
      /^0000:00:0e\.0 040300 8086:293e .* snd_hda_intel$/m,
      /^0000:00:0b\.0 0c0330 1b36:000d .* xhci_hcd$/m,
      / virtio-pci\/virtio_blk$/m,
      / virtio-pci\/virtio_net$/m,
      / virtio-pci\/virtio_console$/m,
      / virtio-pci\/virtio_balloon$/m,
      / virtio-pci\/virtio_rng$/m,
    ])
      expect(pci).toMatch(line)
    expect(pci.match(/1b36:000c/g)).toHaveLength(7)
    expect(await shell.output('cat /sys/devices/system/cpu/online')).toBe('0-6')
    await shell.until('lsusb', /QEMU USB Tablet/)
    await shell.until('cat /sys/class/virtio-ports/*/name', /com\.redhat\.spice\.0/)
    expect(await shell.output('cat /sys/class/virtio-ports/*/name')).toMatch(/org\.qemu\.guest_agent\.0/)
    await shell.until('cat /proc/sys/dev/cdrom/info', /drive name:\s+sr0/)
  }, 300_000)
})

describe.runIf(existsSync('/usr/share/OVMF/OVMF_CODE_4M.ms.fd'))('Secure Boot', () => {
  const iso = async () => new Map([[ISO_ID, await ensureGuestIso()]])
  const fromCd = { ...SMALL, firmware: 'uefi', disks: [{ device: 'cdrom', image: ISO_ID }] }

  it('firmware with enrolled keys refuses an unsigned boot loader', async () => {
    await using guest = await CompiledGuest.start({ ...fromCd, secureBoot: true }, { images: await iso() })
    await guest.qmp.execute('cont')
    await guest.serial?.expect(/Access Denied|Security Violation/, BOOT_TIMEOUT_MS)
  }, 300_000)

  it('without it the same medium boots', async () => {
    await using guest = await CompiledGuest.start(fromCd, { images: await iso() })
    const shell = await guest.boot(BOOT_TIMEOUT_MS)
    expect(await shell.output('ls -d /sys/firmware/efi')).toBe('/sys/firmware/efi')
  }, 300_000)

  it('the guest finds the keys enrolled and Secure Boot on', async () => {
    // A kernel handed over by QEMU starts all the same: OVMF falls back to the loader of old for it.
    await using guest = await CompiledGuest.start({
      ...SMALL,
      secureBoot: true,
      directKernel: await ensureDeviceGuest(),
    })
    const shell = await guest.boot(BOOT_TIMEOUT_MS)
    const state = await shell.output(
      'mount -t efivarfs none /sys/firmware/efi/efivars 2>/dev/null; cd /sys/firmware/efi/efivars; for v in SecureBoot SetupMode; do tail -c 1 $v-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tu1; done',
    )
    expect(state.trim().split(/\s+/)).toEqual(['1', '0'])
    expect(guest.stderr).toBe('')
  }, 300_000)
})

describe('what this host cannot give', () => {
  it('huge pages that are not there end the start, with a message that says so', async () => {
    const attempt = CompiledGuest.start(
      { ...SMALL, hugePages: '2M', memoryMiB: 4_194_304 / 8 },
      { host: { hugePages: { '2M': { total: 1_000_000, free: 1_000_000 }, '1G': null } } },
    )
    await expect(attempt).rejects.toThrow(/memory|hugetlb/i)
  })

  it.runIf(existsSync('/dev/kvm'))('Hyper-V enlightenments are taken by QEMU, or refused by the host', async () => {
    const windows = { ...SMALL, guest: 'windows', firmware: 'bios', accelerator: 'kvm', iommu: 'intel', hyperv: true }
    const outcome = await CompiledGuest.start(windows, { accelerator: 'kvm' }).then(
      async (guest) => {
        await using _ = guest
        const cpus = await guest.qmp.execute('query-cpus-fast')
        return guest.qmp.execute('qom-get', { path: cpus[0]?.['qom-path'] ?? '', property: 'hv-relaxed' })
      },
      (error: unknown) => String(error),
    )
    if (outcome !== true) expect(outcome).toMatch(/KVM|kvm|Hyper-?V|hv-/)
  })
})
