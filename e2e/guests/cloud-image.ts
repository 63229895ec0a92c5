/**
 * A cloud image of Debian 12, built from its packages: systemd, cloud-init as it is, the guest agent, GRUB for BIOS. It
 * takes its user, keys, host name and network from a seed and shows a login on the first serial line, as images of
 * clouds do; nobody can log in without a seed. About a minute to build, then out of the cache.
 *
 * It knows virtio alone (Debian's cloud kernel). Disks: virtio-blk or virtio-scsi.
 */
import { chmodSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { cached, dropOthers, keyOf } from './cache.ts'
import { run } from './tools.ts'

const PACKAGES = [
  ...['linux-image-cloud-amd64', 'initramfs-tools', 'zstd', 'systemd-sysv', 'udev', 'dbus', 'kmod'],
  ...[
    'cloud-init',
    'cloud-guest-utils',
    'qemu-guest-agent',
    'sudo',
    'login',
    'passwd',
    'iproute2',
    'fdisk',
    'e2fsprogs',
  ],
]
const MIRROR = process.env.GUESTDECK_DEBIAN_MIRROR ?? 'http://deb.debian.org/debian'
const ROOT_UUID = '11111111-2222-4333-8444-555555555555'
const DISK_BYTES = 2 * 2 ** 30
const PARTITION_AT = 2 ** 20
/** A minute and a half on an idle machine. */
const BUILD_TIMEOUT_MS = 1_800_000
/** Raise it when what is made of the parts below changes. */
const RECIPE = '1'
/** What an early system needs of the kernel: found here, the initramfs is a tenth of the usual one. */
const EARLY_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', 'sr_mod', 'ext4', 'isofs']

const CLOUD_CONFIG = `datasource_list: [ NoCloud, None ]
system_info:
  network:
    renderers: [ networkd ]
# The package locales is not there, and cloud-init would end in an error.
locale: false
# Left out: what waits for a package mirror, which tests have not.
apt_preserve_sources_list: true
`

const grubConfig = (release: string): string => `set timeout=0
serial --unit=0 --speed=115200
terminal_output console serial
menuentry Debian {
  linux /boot/vmlinuz-${release} root=UUID=${ROOT_UUID} ro console=tty0 console=ttyS0,115200 quiet
  initrd /boot/initrd.img-${release}
}
`

/** @returns absolute path of a qcow2 file of some 130 MiB, 2 GiB virtual, readable by everybody */
export async function ensureCloudImage(): Promise<string> {
  const prefix = 'cloud-image'
  const key = keyOf(RECIPE, ...PACKAGES, ...EARLY_MODULES, CLOUD_CONFIG, grubConfig(''))
  const dir = await cached(`${prefix}-${key}`, build)
  dropOthers(prefix, basename(dir))
  return join(dir, 'debian-12-cloud.qcow2')
}

async function build(scratch: string): Promise<void> {
  const config = join(scratch, 'config')
  mkdirSync(config)
  writeFileSync(join(config, 'fstab'), `UUID=${ROOT_UUID} / ext4 defaults 0 1\n`)
  writeFileSync(join(config, 'cloud.cfg'), CLOUD_CONFIG)
  writeFileSync(join(config, 'modules'), `${EARLY_MODULES.join('\n')}\n`)
  const tar = join(scratch, 'root.tar')
  const aptOptions = ['APT::Install-Recommends "false"', 'Acquire::Languages "none"']
  const leftOut = ['man', 'doc', 'locale', 'info', 'bash-completion', 'lintian'].map(
    (name) => `path-exclude=/usr/share/${name}/*`,
  )
  const essential = [
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/cloud/cloud.cfg.d"',
    'echo MODULES=list > "$1/etc/initramfs-tools/conf.d/small"',
    `cp ${config}/modules "$1/etc/initramfs-tools/modules"`,
  ]
  const customize = [
    `cp ${config}/fstab "$1/etc/fstab"`,
    `cp ${config}/cloud.cfg "$1/etc/cloud/cloud.cfg.d/90_test.cfg"`,
    ': > "$1/etc/machine-id"',
    'echo debian > "$1/etc/hostname"',
    'chroot "$1" systemctl enable systemd-networkd serial-getty@ttyS0 qemu-guest-agent',
    'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service',
    'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*',
  ]
  await run(
    'mmdebstrap',
    [
      '--variant=minbase',
      `--include=${PACKAGES.join(',')}`,
      ...aptOptions.map((option) => `--aptopt=${option}`),
      // Its files need not survive a power cut on the way.
      '--dpkgopt=force-unsafe-io',
      ...leftOut.map((option) => `--dpkgopt=${option}`),
      ...essential.map((hook) => `--essential-hook=${hook}`),
      ...customize.map((hook) => `--customize-hook=${hook}`),
      ...['bookworm', tar, MIRROR],
    ],
    { timeoutMs: BUILD_TIMEOUT_MS },
  )
  // Owners in the image are the image's: as root, or as root of a namespace of our own.
  const isRoot = process.getuid?.() === 0
  const asOwner = (script: string) =>
    run(isRoot ? 'sh' : 'unshare', [...(isRoot ? [] : ['--map-root-user', '--map-auto', 'sh']), '-ec', script], {
      timeoutMs: BUILD_TIMEOUT_MS,
    })
  const root = join(scratch, 'root')
  const image = join(scratch, 'root.img')
  writeFileSync(image, '')
  truncateSync(image, DISK_BYTES - PARTITION_AT)
  mkdirSync(root)
  await asOwner(`tar -C ${root} --exclude='./dev/*' -xf ${tar}`)
  const release = (await run('sh', ['-ec', `ls ${root}/boot | sed -n s/^vmlinuz-//p`])).trim()
  writeFileSync(join(config, 'grub.cfg'), grubConfig(release))
  await asOwner(`mkdir -p ${root}/boot/grub && cp ${config}/grub.cfg ${root}/boot/grub/grub.cfg &&
    mke2fs -q -t ext4 -O ^metadata_csum_seed,^orphan_file -U ${ROOT_UUID} -L root -d ${root} ${image} && rm -rf ${root}`)
  const disk = join(scratch, 'disk.raw')
  await assemble(disk, image, await grubCore(scratch, config))
  const result = join(scratch, 'debian-12-cloud.qcow2')
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', disk, result], { timeoutMs: BUILD_TIMEOUT_MS })
  for (const path of [tar, image, disk, config, join(scratch, 'core.img')])
    rmSync(path, { recursive: true, force: true })
  chmodSync(scratch, 0o755)
  chmodSync(result, 0o644)
}

async function grubCore(scratch: string, config: string): Promise<Buffer> {
  const core = join(scratch, 'core.img')
  writeFileSync(
    join(config, 'early.cfg'),
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
    ...['-O', 'i386-pc', '-o', core, '-p', '(hd0,msdos1)/boot/grub', '-c', join(config, 'early.cfg')],
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
