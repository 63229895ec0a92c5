/** Drives and network cards, as real guests on the compiled command line see them. */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureDeviceGuest } from '#e2e/guests/build.ts'
import { ensureBiosDeviceGuest } from '#e2e/guests/elf-kernel.ts'
import type { GuestShell } from '#e2e/guests/guest-shell.ts'
import { MIB } from '#lib/units.ts'
import { CompiledGuest } from '#server/testing/compiled-guest.ts'
import { throttleLimits } from './devices/throttle.ts'
import { ISO_ID } from './test-support.ts'

/** Software emulation on a busy machine: generous, and only ever waited for in full when something is wrong. */
const BOOT_TIMEOUT_MS = 170_000
const TEST_TIMEOUT_MS = 300_000
const CD_TEXT = 'what the host put on the CD'

let files: string
let kernel: { kernel: string; initrd: string; commandLine: string }
const images = new Map<string, string>()
beforeAll(async () => {
  files = mkdtempSync(join(tmpdir(), 'gd-'))
  kernel = await ensureBiosDeviceGuest()
  const iso = join(files, 'cd.iso')
  writeFileSync(iso, `${CD_TEXT}\n`)
  truncateSync(iso, MIB)
  images.set(ISO_ID, iso)
  for (let n = 0; n < 8; n += 1) {
    const raw = join(files, 'raw')
    writeFileSync(raw, `${textOf(n)}\n`)
    truncateSync(raw, sizeMiB(n) * MIB)
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '--', raw, join(files, `disk${n}`)])
    images.set(`disk${n}.qcow2`, join(files, `disk${n}`))
  }
})
afterAll(() => rmSync(files, { recursive: true, force: true }))

const textOf = (n: number) => `what the host put on disk${n}`
/** A size of its own for each disk tells them apart. */
const sizeMiB = (n: number) => 16 + n

/** Direct I/O is not to be had on every file system a test may run on. */
function hasDirectIo(): boolean {
  try {
    closeSync(openSync(join(files, 'direct'), constants.O_RDWR | constants.O_CREAT | constants.O_DIRECT))
    return true
  } catch {
    return false
  }
}

const SMALL = {
  guest: 'linux',
  accelerator: 'tcg',
  memoryMiB: 384,
  display: 'none',
  usbInput: false,
  agentChannel: false,
  rng: false,
}
const directKernel = (more = '') => ({
  kernel: kernel.kernel,
  initrd: kernel.initrd,
  commandLine: `${kernel.commandLine} ${more}`.trim(),
})
const macOf = (n: number) => `52:54:00:00:01:0${n}`
const card = (n: number, more: object) => ({ mac: macOf(n), ...more })
const oneMiBps = {
  bytesPerSecond: MIB,
  readBytesPerSecond: 0,
  writeBytesPerSecond: 0,
  iops: 0,
  readIops: 0,
  writeIops: 0,
  bytesPerSecondMax: 0,
  iopsMax: 0,
  burstSeconds: 1,
}

/** One line per drive: name, MiB, read-only, queues, write cache, serial number, where it hangs, first line of content. */
const REPORT = `
for block in /sys/block/vd* /sys/block/sd* /sys/block/nvme* /sys/block/sr*; do
  [ -e $block ] || continue
  name=\${block##*/}
  path=$(readlink -f $block/device)
  usb=\${path%%/host*}
  usb=\${usb%/*}
  serial=-
  if [ -e $block/serial ]; then serial=$(cat $block/serial)
  elif [ -e $block/device/serial ]; then serial=$(cat $block/device/serial)
  elif [ -e $usb/bDeviceClass ]; then serial=$(cat $usb/serial)
  elif [ -e $block/device/vpd_pg80 ]; then serial=$(dd if=$block/device/vpd_pg80 bs=1 skip=4 2>/dev/null | tr -d '\\000')
  fi
  content=$(dd if=/dev/$name bs=2048 count=1 2>/dev/null | head -n 1 | tr -d '\\000')
  echo $name'|'$(($(cat $block/size) / 2048))'|'$(cat $block/ro)'|'$(ls $block/mq | wc -l)'|'$(cat $block/queue/write_cache)'|'$serial'|'$path'|'$content
done`

interface DriveReport {
  readonly name: string
  readonly mib: number
  readonly isReadOnly: boolean
  readonly queues: number
  readonly writeCache: string
  readonly serial: string
  readonly path: string
  readonly content: string
}

async function drivesOf(shell: GuestShell): Promise<DriveReport[]> {
  const lines = (await shell.output(REPORT)).split('\n')
  return lines.map((line) => {
    const [name = '', mib, readOnly, queues, writeCache = '', serial = '', path = '', content = ''] = line.split('|')
    return {
      ...{ name, mib: Number(mib), isReadOnly: readOnly === '1', queues: Number(queues) },
      ...{ writeCache, serial: serial.trim(), path, content },
    }
  })
}

/** The drive the host wrote this on, as the guest sees it. */
async function disk(shell: GuestShell, n: number): Promise<DriveReport> {
  const found = (await drivesOf(shell)).filter(({ content }) => content === textOf(n))
  expect(found, textOf(n)).toHaveLength(1)
  const [report] = found
  expect(report?.mib).toBe(sizeMiB(n))
  return report as DriveReport
}

/** Driver, carrier and MTU of the card with this address. */
const nic = (mac: string) => `
for nic in /sys/class/net/*; do
  [ "$(cat $nic/address)" = ${mac} ] || continue
  driver=$(readlink -f $nic/device/driver)
  echo \${driver##*/} $(cat $nic/carrier) $(cat $nic/mtu) $(ip -o -4 address show \${nic##*/} | grep -o 'inet [0-9.]*')
done`

describe('q35 with every drive bus and network card', () => {
  let guest: CompiledGuest
  let shell: GuestShell
  beforeAll(async () => {
    guest = await CompiledGuest.start(
      {
        ...SMALL,
        cpus: 2,
        directKernel: directKernel(),
        spareRootPorts: 2,
        disks: [
          {
            ...{ device: 'disk', ioThread: true, queues: 2, serial: 'SN.of-disk_0' },
            ...(hasDirectIo() ? { cache: 'none', aio: 'native' } : {}),
          },
          { device: 'disk', bus: 'virtio-scsi', port: 9, ioThread: true, cache: 'writeback' },
          { device: 'disk', bus: 'virtio-scsi', readOnly: true },
          { device: 'disk', bus: 'nvme', queues: 1, discard: 'unmap' },
          { device: 'disk', bus: 'sata', cache: 'writethrough' },
          { device: 'disk', bus: 'usb' },
          { device: 'disk', throttle: oneMiBps },
          { device: 'cdrom', image: ISO_ID },
          { device: 'cdrom', bus: 'virtio-scsi', image: ISO_ID },
          { device: 'cdrom', bus: 'usb', image: ISO_ID },
          { device: 'cdrom', bus: 'usb' },
        ],
        networks: [
          card(0, { mtu: 1400 }),
          card(1, { model: 'e1000e' }),
          card(2, { model: 'e1000' }),
          card(3, { model: 'rtl8139' }),
          card(4, { model: 'vmxnet3' }),
          card(5, { model: 'usb-net' }),
          card(6, { network: 'none' }),
          card(7, { model: 'e1000e', link: false }),
        ],
      },
      { images },
    )
    shell = await guest.boot(BOOT_TIMEOUT_MS)
  }, TEST_TIMEOUT_MS)
  afterAll(() => guest?.[Symbol.asyncDispose]())

  it('virtio-blk: on its port, with its queues and serial number', async () => {
    const report = await disk(shell, 0)
    expect(report).toMatchObject({ name: 'vda', serial: 'SN.of-disk_0', queues: 2, writeCache: 'write back' })
    expect(report.path).toMatch(/0000:00:02\.0\/0000:01:00\.0\/virtio\d+$/)
  })

  it('virtio-scsi: at its target, and one that cannot be written', async () => {
    const report = await disk(shell, 1)
    expect(report).toMatchObject({ serial: 'disk1', isReadOnly: false, writeCache: 'write back' })
    expect(report.path).toMatch(/0000:00:0d\.0\/virtio\d+\/.*:0:9:0$/)
    const fixed = await disk(shell, 2)
    expect(fixed.isReadOnly).toBe(true)
    expect(fixed.path).toMatch(/0000:00:0d\.0\/virtio\d+\/.*:0:0:0$/)
    expect((await shell.run(`echo x | dd of=/dev/${fixed.name} bs=512 conv=sync,fsync`)).status).not.toBe(0)
  })

  it('nvme: on its port, with one queue pair besides the administrative one', async () => {
    expect(await disk(shell, 3)).toMatchObject({ name: 'nvme0n1', serial: 'disk3' })
    expect(await shell.output('cat /sys/class/nvme/nvme0/queue_count')).toBe('2')
  })

  it('sata: on the controller of the mainboard, without write cache as asked', async () => {
    const report = await disk(shell, 4)
    expect(report).toMatchObject({ serial: 'disk4', writeCache: 'write through' })
    expect(report.path).toMatch(/0000:00:1f\.2\/ata1\//)
  })

  it('usb: removable, on its port', async () => {
    const report = await disk(shell, 5)
    expect(report).toMatchObject({ serial: 'disk5' })
    expect(report.path).toMatch(/0000:00:0b\.0\/usb\d+\/\d+-3\//)
    expect(await shell.output(`cat /sys/block/${report.name}/removable`)).toBe('1')
  })

  it('what the guest writes it reads back from every disk that can be written', async () => {
    for (const n of [0, 1, 3, 4, 5, 6]) {
      const { name } = await disk(shell, n)
      const written = `from the guest to ${name}`
      await shell.output(`echo ${written} | dd of=/dev/${name} bs=512 seek=2048 conv=sync,fsync 2>/dev/null`)
      await shell.output('echo 3 > /proc/sys/vm/drop_caches')
      const read = await shell.output(`dd if=/dev/${name} bs=512 skip=2048 count=1 2>/dev/null | head -n 1`)
      expect(read.replaceAll('\0', '')).toBe(written)
    }
  })

  it('every disk of virtio, NVMe and SATA takes discards, and what is discarded goes back to the host', async () => {
    for (const n of [0, 1, 3, 4]) {
      const { name } = await disk(shell, n)
      expect(Number(await shell.output(`cat /sys/block/${name}/queue/discard_max_bytes`)), name).toBeGreaterThan(0)
    }
    const { name } = await disk(shell, 3)
    const path = guest.input.drives.find(({ id }) => id === 'disk3')?.chain[0]?.path ?? ''
    const allocatedMiB = () => (statSync(path).blocks * 512) / MIB
    const range = `-o ${4 * MIB} -l ${8 * MIB}`
    await shell.output(`dd if=/dev/urandom of=/dev/${name} bs=1M seek=4 count=8 conv=fsync 2>/dev/null`)
    const full = allocatedMiB()
    expect(full).toBeGreaterThan(7)
    await shell.output(`blkdiscard ${range} /dev/${name}`)
    await expect.poll(allocatedMiB, { timeout: 20_000 }).toBeLessThan(full - 7)
  })

  it('limits hold the disk; a burst may exceed them, and lifting them frees it at once', async () => {
    const { name } = await disk(shell, 6)
    const seconds = async (skipMiB: number) => {
      const now = 'read -r up _ </proc/uptime; echo $up'
      const read = `dd if=/dev/${name} of=/dev/null bs=256k count=12 skip=${skipMiB * 4} iflag=direct 2>/dev/null`
      const [before, after] = (await shell.output(`${now}; ${read}; ${now}`)).split('\n').map(Number)
      return (after ?? 0) - (before ?? 0)
    }
    const held = await seconds(4)
    // 3 MiB at 1 MiB a second, of which a tenth of a second's worth is free.
    expect(held).toBeGreaterThan(1.5)
    const limit = (value: Record<string, number>) =>
      guest.qmp.execute('qom-set', { path: '/objects/disk6.tg', property: 'limits', value })
    await limit(throttleLimits({ ...oneMiBps, bytesPerSecondMax: 100 * MIB }))
    expect(await seconds(8)).toBeLessThan(held / 2)
    await limit(throttleLimits({ ...oneMiBps, bytesPerSecond: 0 }))
    expect(await seconds(12)).toBeLessThan(held / 2)
  })

  it('CDs on SATA, SCSI and USB are read, and an empty drive says so', async () => {
    const drives = (await drivesOf(shell)).filter(({ name }) => name.startsWith('sr'))
    const withMedium = drives.filter(({ content }) => content === CD_TEXT)
    expect(withMedium.map(({ path }) => /\/(ata|virtio|usb)\d+\//.exec(path)?.[1]).sort()).toEqual([
      'ata',
      'usb',
      'virtio',
    ])
    const [empty, ...more] = drives.filter(({ content }) => content === '')
    expect(more).toEqual([])
    expect((await shell.run(`dd if=/dev/${empty?.name} count=1`)).output).toMatch(/No medium found/)
  })

  it('every card has its driver, address and MTU, and gets an address from the network', async () => {
    for (const [n, driver, mtu] of [
      [0, 'virtio_net', 1400],
      [1, 'e1000e', 1500],
      [2, 'e1000', 1500],
      [3, '8139cp', 1500],
      [4, 'vmxnet3', 1500],
    ] as const)
      await shell.until(nic(macOf(n)), new RegExp(`^${driver} 1 ${mtu} inet 10\\.0\\.2\\.15$`), 90_000)
    // Its driver may make an address up.
    await shell.until(
      `for nic in /sys/class/net/usb*; do basename $(readlink -f $nic/device/driver); ip -o -4 address show \${nic##*/}; done`,
      /^cdc_[a-z]+\n.* inet 10\.0\.2\.15/,
      90_000,
    )
  })

  it('a card without network and one with its cable out have no carrier; plugging it in gives one', async () => {
    expect(await shell.output(nic(macOf(6)))).toBe('virtio_net 0 1500')
    expect(await shell.output(nic(macOf(7)))).toBe('e1000e 0 1500')
    await guest.qmp.execute('set_link', { name: 'net7', up: true })
    await shell.until(nic(macOf(7)), /^e1000e 1 /)
  })

  it('conventional PCI cards are plugged into PCIe ports while the guest runs, and out again', async () => {
    const spare = guest.input.spec.disks.filter(({ bus }) => bus === 'virtio-blk' || bus === 'nvme').length + 7
    for (const [n, model, driver] of [
      [0, 'e1000', 'e1000'],
      [1, 'rtl8139', '8139cp'],
    ] as const) {
      const id = `hot${n}`
      const mac = `52:54:00:00:02:0${n}`
      await guest.qmp.execute('netdev_add', { type: 'user', id: `${id}.net` })
      await guest.qmp.execute('device_add', {
        ...{ driver: model, id, mac, netdev: `${id}.net`, romfile: '' },
        ...{ bus: `rp${spare + n}`, addr: '0x0' },
      })
      await shell.until(nic(mac), new RegExp(`^${driver} 1 1500 inet 10\\.0\\.2\\.15$`), 90_000)
      await guest.qmp.execute('device_del', { id })
      await expect
        .poll(() => guest.events.some(({ event, data }) => event === 'DEVICE_DELETED' && data.device === id), {
          timeout: 60_000,
        })
        .toBe(true)
    }
  })
})

// Side by side: the firmware mostly waits.
describe.concurrent('other machines', () => {
  it(
    'pc: a boot menu, PS/2, a TPM of old; IDE on its two cables, SATA on a card, virtio and cards in PCI slots without ports',
    async () => {
      await using guest = await CompiledGuest.start(
        {
          ...SMALL,
          ...{ machine: 'pc', firmware: 'bios', ps2: true },
          // Unpacked it would find no ACPI here, and so no TPM.
          directKernel: await ensureDeviceGuest(),
          cpuModel: 'auto',
          bootMenu: true,
          tpm: 'tpm-tis',
          pvpanic: true,
          rng: true,
          virtioMem: { sizeMiB: 256, requestedMiB: 0 },
          memoryMaxMiB: 1024,
          disks: [
            { device: 'disk', bus: 'ide' },
            { device: 'disk', bus: 'ide', port: 3 },
            { device: 'disk', bus: 'sata' },
            { device: 'disk' },
            { device: 'cdrom', image: ISO_ID },
            { device: 'cdrom', bus: 'sata', image: ISO_ID },
          ],
          networks: [card(0, { model: 'e1000' }), card(1, { model: 'rtl8139' }), card(2, {})],
        },
        { images },
      )
      const shell = await guest.boot(BOOT_TIMEOUT_MS)
      expect((await disk(shell, 0)).path).toMatch(/0000:00:01\.1\/ata\d\/.*:0:0:0$/)
      expect((await disk(shell, 1)).path).toMatch(/0000:00:01\.1\/ata\d\/.*:0:1:0$/)
      expect((await disk(shell, 2)).path).toMatch(/0000:00:04\.0\/ata\d\//)
      expect((await disk(shell, 3)).path).toMatch(/0000:00:10\.0\/virtio\d$/)
      const cds = (await drivesOf(shell)).filter(({ content }) => content === CD_TEXT)
      expect(cds.map(({ path }) => /0000:00:[^/]+/.exec(path)?.[0]).sort()).toEqual(['0000:00:01.1', '0000:00:04.0'])
      await shell.until(nic(macOf(0)), /^e1000 1 1500 inet 10\.0\.2\.15$/, 90_000)
      await shell.until(nic(macOf(1)), /^8139cp 1 1500 inet 10\.0\.2\.15$/, 90_000)
      expect(guest.serial?.text).toMatch(/Press ESC for boot menu/)
      expect(await shell.output('cat /sys/class/dmi/id/product_name')).toMatch(/i440FX/)
      expect(await shell.output('cat /proc/cpuinfo')).toMatch(/model name\s*: QEMU TCG CPU/)
      expect(await shell.output('ls /sys/bus/serio/devices')).toMatch(/serio0/)
      const pci = await shell.output('lspci')
      for (const line of [
        /^0000:00:01\.3 .*8086:7113/m,
        /^0000:00:05\.0 .* pvpanic-pci$/m,
        /^0000:00:0a\.0 .* virtio-pci\/virtio_rng$/m,
        /^0000:00:0c\.0 .* virtio-pci\/virtio_mem$/m,
        /^0000:00:10\.0 .* virtio-pci\/virtio_blk$/m,
        /^0000:00:13\.0 .* virtio-pci\/virtio_net$/m,
      ])
        expect(pci).toMatch(line)
      expect(pci).not.toMatch(/1b36:000c/)
      expect(await shell.output('cat /sys/class/rtc/rtc0/name')).toMatch(/rtc_cmos/)
      const tpm = '/sys/class/tpm/tpm0'
      await shell.until(`cat ${tpm}/tpm_version_major; readlink ${tpm}/device/driver`, /^2\n.*\/tpm_tis$/)
    },
    TEST_TIMEOUT_MS,
  )

  it(
    'microvm: disks, CD, network, random numbers and console on a bus of its own, without PCI',
    async () => {
      await using guest = await CompiledGuest.start(
        {
          ...SMALL,
          machine: 'microvm',
          // microvm has neither HPET nor PM timer to measure the TSC by, and TCG on a busy host is too uneven for the PIT.
          directKernel: directKernel('tsc_early_khz=2000000'),
          disks: [
            { device: 'disk', queues: 1 },
            { device: 'disk', bus: 'virtio-scsi', throttle: oneMiBps },
            { device: 'cdrom', image: ISO_ID },
          ],
          networks: [card(0, { network: 'none' }), card(1, {})],
          cpus: 2,
          rng: true,
          agentChannel: true,
        },
        { images },
      )
      const shell = await guest.boot(BOOT_TIMEOUT_MS)
      expect(await shell.output('ls /sys/bus/pci/devices 2>/dev/null | wc -l')).toBe('0')
      expect(await shell.output('cat /sys/devices/system/cpu/online')).toBe('0-1')
      const drivers = await shell.output(
        'for d in /sys/bus/virtio/devices/*; do basename $(readlink -f $d/driver); done | sort -u',
      )
      expect(drivers.split('\n').filter((name) => name !== 'virtio_scsi')).toEqual([
        'virtio_balloon',
        'virtio_blk',
        'virtio_console',
        'virtio_net',
        'virtio_rng',
      ])
      await shell.until(nic(macOf(1)), /^virtio_net 1 1500 inet 10\.0\.2\.15$/, 90_000)
      expect(await disk(shell, 0)).toMatchObject({ name: 'vda', serial: 'disk0' })
      expect(await disk(shell, 1)).toMatchObject({ name: 'sda', serial: 'disk1' })
      expect((await drivesOf(shell)).map(({ content }) => content)).toContain(CD_TEXT)
      expect(await shell.output(nic(macOf(0)))).toBe('virtio_net 0 1500')
    },
    TEST_TIMEOUT_MS,
  )

  it(
    'the firmware boots from the network by the cards that have a boot position, in their order',
    async () => {
      await using guest = await CompiledGuest.start({
        ...SMALL,
        networks: [
          card(0, { bootIndex: 2 }),
          card(1, { model: 'e1000e', bootIndex: 1 }),
          card(2, { model: 'e1000', bootIndex: 4 }),
          card(3, { model: 'rtl8139', bootIndex: 3 }),
          card(4, { model: 'vmxnet3', bootIndex: 5 }),
          card(5, {}),
        ],
      })
      await guest.qmp.execute('cont')
      await guest.serial?.expect(/No bootable device/, TEST_TIMEOUT_MS - 10_000)
      // iPXE names its driver and, once DHCP has answered, the address it got.
      const tried = guest.serial?.text.matchAll(/: (52:54:00:00:01:\d\d) using (\S+) on [\s\S]*?net\d: ([0-9.]+)\//g)
      expect([...(tried ?? [])].map(([, mac, driver, address]) => [mac, driver, address])).toEqual([
        [macOf(1), '82574l', '10.0.2.15'],
        [macOf(0), 'virtio-net', '10.0.2.15'],
        [macOf(3), 'rtl8139', '10.0.2.15'],
        [macOf(2), '82540em', '10.0.2.15'],
        [macOf(4), 'vmxnet3', '10.0.2.15'],
      ])
    },
    TEST_TIMEOUT_MS,
  )
})
