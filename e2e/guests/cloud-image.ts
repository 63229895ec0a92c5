/**
 * A cloud image of Debian 12, built from its packages: cloud-init as it is, the guest agent, GRUB for BIOS. It takes its
 * user, keys, host name and network from a seed and shows a login on the first serial line, as images of clouds do; nobody
 * can log in without a seed.
 *
 * So that it boots in seconds under emulation, busybox stands where systemd would (`cloud-root/`), cloud-init is loaded
 * once for its four stages, and of its modules those are listed that its seeds here use. It knows virtio alone (Debian's
 * cloud kernel). Disks: virtio-blk or virtio-scsi.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import { cached, dropOthers, keyOf } from './cache.ts'
import { type CpioEntry, writeCpio } from './cpio.ts'
import { hostFiles } from './initramfs.ts'
import { copyModules, ensureKernel, type Kernel } from './kernel.ts'
import { run } from './tools.ts'

const PACKAGES = [
  ...['cloud-init', 'cloud-guest-utils', 'qemu-guest-agent', 'sudo', 'login', 'passwd', 'mount', 'busybox-static'],
  ...['iproute2', 'ifupdown', 'fdisk', 'e2fsprogs'],
]
const MIRROR = process.env.GUESTDECK_DEBIAN_MIRROR ?? 'http://deb.debian.org/debian'
const ROOT_UUID = '11111111-2222-4333-8444-555555555555'
const DISK_BYTES = 2 ** 30
const PARTITION_AT = 2 ** 20
/** A minute on an idle machine. */
const BUILD_TIMEOUT_MS = 1_800_000
const MODULES = [
  ...['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', 'sr_mod', 'virtio_net', 'virtio_console', 'virtio_rng'],
  ...['ext4', 'crc32c_generic', 'isofs', 'af_packet', 'ipv6', 'evdev', 'button'],
]
/** What a running guest does not use, or not under emulation. */
const LEFT_OUT = [
  ...['doc', 'man', 'locale', 'info', 'i18n', 'perl', 'perl5', 'vim', 'lintian', 'bash-completion', 'zoneinfo'].map(
    (name) => `usr/share/${name}`,
  ),
  ...[
    'usr/lib/x86_64-linux-gnu/perl*',
    'usr/lib/x86_64-linux-gnu/gconv',
    'usr/bin/perl*',
    'var/lib/dpkg',
    'var/cache/*',
  ],
  ...['dev/*', 'boot/*'],
]

const CLOUD_CONFIG = `datasource_list: [ NoCloud, None ]
disable_root: true
cloud_init_modules: [ growpart, resizefs, set_hostname, update_hostname, users-groups ]
cloud_config_modules: [ set-passwords, runcmd ]
cloud_final_modules: [ scripts-user, final-message ]
system_info:
  distro: debian
  network:
    renderers: [ eni ]
`
const FILES: Record<string, string> = {
  'etc/cloud/cloud.cfg': CLOUD_CONFIG,
  'etc/fstab': '',
  'etc/hostname': 'debian\n',
  'etc/machine-id': '',
}

const GRUB_CONFIG = `set timeout=0
serial --unit=0 --speed=115200
terminal_output console serial
menuentry Debian {
  linux /boot/vmlinuz console=tty0 console=ttyS0,115200 quiet loglevel=3
  initrd /boot/initrd
}
`

/** Where Debian's tools for it are missing, the image cannot be built. */
export const canBuildCloudImage = (): boolean =>
  ['/usr/bin/mmdebstrap', '/usr/lib/grub/i386-pc/boot.img'].every((path) => existsSync(path))

/** @returns absolute path of a qcow2 file of some 150 MB, 1 GiB virtual, readable by everybody */
export async function ensureCloudImage(): Promise<string> {
  const prefix = 'cloud-image'
  const kernel = await ensureKernel('cloud')
  const key = keyOf(
    kernel.release,
    readFileSync(hostFiles().busybox),
    readFileSync(import.meta.filename),
    ...guestFiles().flatMap(({ path, bytes }) => [path, bytes]),
  )
  const dir = await cached(`${prefix}-${key}`, (scratch) => build(scratch, kernel))
  dropOthers(prefix, basename(dir))
  return join(dir, 'debian-12-cloud.qcow2')
}

/** The scripts under `cloud-root/`: what starts with `#!` is made executable, whatever a checkout says. */
function guestFiles(): { path: string; bytes: Buffer; mode: number }[] {
  const root = join(import.meta.dirname, 'cloud-root')
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => {
      const bytes = readFileSync(file)
      const mode = bytes.subarray(0, 2).toString() === '#!' ? 0o755 : 0o644
      return { path: file.slice(root.length + 1), bytes, mode }
    })
}

async function build(scratch: string, kernel: Kernel): Promise<void> {
  const tar = join(scratch, 'root.tar')
  await run(
    'mmdebstrap',
    [
      '--variant=essential',
      `--include=${PACKAGES.join(',')}`,
      ...['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"'],
      // Its files need not survive a power cut on the way.
      '--dpkgopt=force-unsafe-io',
      ...['bookworm', tar, MIRROR],
    ],
    { timeoutMs: BUILD_TIMEOUT_MS },
  )
  const own = join(scratch, 'own')
  for (const { path, bytes, mode } of [
    ...guestFiles().filter(({ path }) => path !== 'early-init'),
    ...Object.entries(FILES).map(([path, text]) => ({ path, bytes: Buffer.from(text), mode: 0o644 })),
    { path: 'boot/vmlinuz', bytes: readFileSync(kernel.vmlinuz), mode: 0o644 },
    { path: 'boot/initrd', bytes: await initramfs(scratch, kernel), mode: 0o644 },
    { path: 'boot/grub/grub.cfg', bytes: Buffer.from(GRUB_CONFIG), mode: 0o644 },
  ]) {
    mkdirSync(join(own, path, '..'), { recursive: true })
    writeFileSync(join(own, path), bytes, { mode })
  }
  // Owners in the image are the image's: as root, or as root of a namespace of our own.
  const isRoot = process.getuid?.() === 0
  const root = join(scratch, 'root')
  const image = join(scratch, 'root.img')
  writeFileSync(image, '')
  truncateSync(image, DISK_BYTES - PARTITION_AT)
  const leftOut = LEFT_OUT.map((pattern) => `--exclude='./${pattern}'`).join(' ')
  // Without a journal: nobody keeps what is in it, and writing is slow under emulation.
  const script = `mkdir ${root}; tar -C ${root} ${leftOut} -xf ${tar}
    mkdir -p ${root}/etc/network/interfaces.d
    # The root's sbin is a link into /usr.
    cp -RP --preserve=mode --no-target-directory ${own}/sbin ${root}/usr/sbin
    rm -r ${own}/sbin; cp -RP --preserve=mode --no-target-directory ${own} ${root}; ln -sf ../bin/busybox ${root}/usr/sbin/init
    chown -R 0:0 ${root}/boot ${root}/usr/lib/cloud-boot ${root}/etc/acpi
    mke2fs -q -t ext4 -O ^has_journal,^metadata_csum_seed,^orphan_file -U ${ROOT_UUID} -L root -d ${root} ${image}
    rm -rf ${root}`
  await run(isRoot ? 'sh' : 'unshare', [...(isRoot ? [] : ['--map-root-user', '--map-auto', 'sh']), '-ec', script], {
    timeoutMs: BUILD_TIMEOUT_MS,
  })
  const disk = join(scratch, 'disk.raw')
  await assemble(disk, image, await grubCore(scratch))
  const result = join(scratch, 'debian-12-cloud.qcow2')
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', disk, result], { timeoutMs: BUILD_TIMEOUT_MS })
  for (const name of readdirSync(scratch)) {
    if (name !== basename(result)) rmSync(join(scratch, name), { recursive: true, force: true })
  }
  chmodSync(scratch, 0o755)
  chmodSync(result, 0o644)
}

/** Drivers and busybox: mounts the root file system and goes there. */
async function initramfs(scratch: string, kernel: Kernel): Promise<Buffer> {
  const chosen = join(scratch, 'chosen')
  await copyModules(kernel.modulesRoot, kernel.release, MODULES, chosen)
  const { busybox } = hostFiles()
  const entries: CpioEntry[] = ['dev', 'proc', 'sys', 'root'].map((path) => ({ path, kind: 'directory' }))
  // The kernel opens it for /init before devtmpfs is there.
  entries.push({ path: 'dev/console', kind: 'device', major: 5, minor: 1 })
  entries.push({ path: 'bin/busybox', kind: 'file', bytes: readFileSync(busybox), mode: 0o755 })
  for (const applet of ['mount', 'modprobe', 'findfs', 'sleep', 'switch_root']) {
    entries.push({ path: `bin/${applet}`, kind: 'symlink', target: 'busybox' })
  }
  const init = guestFiles().find(({ path }) => path === 'early-init')
  if (init === undefined) throw new Error('early-init is missing')
  entries.push({ path: 'init', kind: 'file', bytes: init.bytes, mode: 0o755 })
  for (const file of readdirSync(join(chosen, 'lib/modules'), { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue
    const from = join(file.parentPath, file.name)
    entries.push({ path: from.slice(chosen.length + 1), kind: 'file', bytes: readFileSync(from) })
  }
  return zstdCompressSync(writeCpio(entries), { params: { [constants.ZSTD_c_compressionLevel]: 9 } })
}

async function grubCore(scratch: string): Promise<Buffer> {
  const core = join(scratch, 'core.img')
  writeFileSync(
    join(scratch, 'early.cfg'),
    'set root=(hd0,msdos1)\nset prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n',
  )
  const modules = [
    'biosdisk',
    'part_msdos',
    'ext2',
    'normal',
    'configfile',
    'linux',
    'serial',
    'terminal',
    'echo',
    'test',
  ]
  await run('grub-mkimage', [
    ...['-O', 'i386-pc', '-o', core, '-p', '(hd0,msdos1)/boot/grub', '-c', join(scratch, 'early.cfg')],
    ...modules,
  ])
  return readFileSync(core)
}

/** GRUB as it comes loads itself from the sectors after the first one: no block list needs a change. */
async function assemble(disk: string, partition: string, core: Buffer): Promise<void> {
  if (512 + core.length > PARTITION_AT) throw new Error('GRUB does not fit before the partition')
  const boot = Buffer.alloc(512)
  readFileSync('/usr/lib/grub/i386-pc/boot.img').copy(boot, 0, 0, 440)
  // One active Linux partition to the end of the disk.
  const entry = boot.subarray(446)
  entry[0] = 0x80
  entry.set([0xfe, 0xff, 0xff], 1)
  entry[4] = 0x83
  entry.set([0xfe, 0xff, 0xff], 5)
  entry.writeUInt32LE(PARTITION_AT / 512, 8)
  entry.writeUInt32LE((DISK_BYTES - PARTITION_AT) / 512, 12)
  boot.writeUInt16LE(0xaa55, 510)
  writeFileSync(disk, '')
  truncateSync(disk, DISK_BYTES)
  const to = await open(disk, 'r+')
  try {
    await to.write(boot, 0, boot.length, 0)
    await to.write(core, 0, core.length, 512)
  } finally {
    await to.close()
  }
  await run('dd', [`if=${partition}`, `of=${disk}`, 'bs=1M', 'seek=1', 'conv=notrunc,sparse', 'status=none'])
}

if (import.meta.main) {
  const startedAt = performance.now()
  process.stdout.write(`${await ensureCloudImage()}\n`)
  process.stderr.write(`${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
}
