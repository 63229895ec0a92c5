/**
 * Small real guests, built from Debian's kernel and busybox and kept under `.cache/guests`. They print
 * `guest-ready` and give a root shell (prompt `guest# `) on the screen and on the first serial line; the guest agent
 * answers, and both the power button and the agent shut them down.
 *
 *   node e2e/guests/build.ts            builds everything, prints the paths
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { cached, dropOthers, keyOf } from './cache.ts'
import { ensureHaltRom } from './halt-rom.ts'
import { buildInitramfs, guestScripts, hostFiles } from './initramfs.ts'
import { copyModules, ensureKernel, type KernelFlavour } from './kernel.ts'
import { BASIC_MODULES, DEVICE_MODULES } from './modules.ts'
import { run } from './tools.ts'

export { ensureHaltRom } from './halt-rom.ts'

/** What both terminals of a guest show once they take input. */
export const READY_TEXT = 'guest-ready'
export const PROMPT = 'guest# '
/** The shell waits for a line at the end of this text; busybox asks the terminal where its cursor is (CSI 6 n). */
export const AT_PROMPT = /guest# (?:\x1b\[6n)?$/

/** The last console is /dev/console (kernel: Documentation/admin-guide/serial-console.rst). */
export const KERNEL_COMMAND_LINE = 'console=tty0 console=ttyS0 quiet loglevel=3 panic=-1'

/** Memory plugged in later is used at once, and where it can be taken away again (memory_hotplug/sysfs.rst). */
export const DEVICE_COMMAND_LINE = `${KERNEL_COMMAND_LINE} memhp_default_state=online_movable`

/** `cloud` drives virtio alone and boots fastest; `generic` the default machine; `devices` whatever QEMU offers. */
export type GuestFlavour = KernelFlavour | 'devices'

export interface GuestKernel {
  readonly vmlinuz: string
  readonly initrd: string
}

const SOURCES = ['build.ts', 'cpio.ts', 'initramfs.ts', 'kernel.ts', 'modules.ts']

/** Kernel and initramfs for `-kernel` and `-initrd`, with `KERNEL_COMMAND_LINE` for `-append`. */
export async function ensureGuestKernel(flavour: GuestFlavour = 'generic'): Promise<GuestKernel> {
  const kernel = await ensureKernel(flavour === 'devices' ? 'generic' : flavour)
  const { busybox, agent } = hostFiles()
  const key = keyOf(
    kernel.release,
    readFileSync(busybox),
    readFileSync(agent),
    ...SOURCES.map((name) => readFileSync(join(import.meta.dirname, name))),
    ...guestScripts().flatMap(({ path, bytes }) => [path, bytes]),
  )
  const dir = await cached(`guest-${flavour}-${key}`, async (scratch) => {
    copyFileSync(kernel.vmlinuz, join(scratch, 'vmlinuz'))
    const chosen = join(scratch, 'chosen')
    const modules = flavour === 'devices' ? DEVICE_MODULES : BASIC_MODULES
    await copyModules(kernel.modulesRoot, kernel.release, modules, chosen)
    writeFileSync(join(scratch, 'initrd'), await buildInitramfs(chosen))
    rmSync(chosen, { recursive: true })
    makeReadable(scratch)
  })
  dropOthers(`guest-${flavour}`, basename(dir))
  return { vmlinuz: join(dir, 'vmlinuz'), initrd: join(dir, 'initrd') }
}

/**
 * A live ISO for BIOS and, where GRUB's modules for it are installed, UEFI.
 * @returns absolute path of an ISO of less than 60 MB, readable by everybody
 */
export async function ensureGuestIso(flavour: GuestFlavour = 'generic'): Promise<string> {
  const guest = await ensureGuestKernel(flavour)
  const prefix = flavour === 'generic' ? 'iso' : `iso-${flavour}`
  const key = keyOf(basename(dirname(guest.vmlinuz)))
  const dir = await cached(`${prefix}-${key}`, async (scratch) => {
    const tree = join(scratch, 'tree')
    mkdirSync(join(tree, 'boot/grub'), { recursive: true })
    copyFileSync(guest.vmlinuz, join(tree, 'boot/vmlinuz'))
    copyFileSync(guest.initrd, join(tree, 'boot/initrd'))
    const commandLine = flavour === 'devices' ? DEVICE_COMMAND_LINE : KERNEL_COMMAND_LINE
    writeFileSync(join(tree, 'boot/grub/grub.cfg'), grubConfig(commandLine))
    // GRUB probes every partition scheme it has a name for and complains of each missing module.
    const schemes = ['acorn', 'amiga', 'apple', 'bsd', 'dfly', 'dvh', 'gpt', 'msdos', 'plan', 'sun', 'sunpc']
    const modules = ['linux', 'normal', 'iso9660', 'all_video', 'test', ...schemes.map((name) => `part_${name}`)]
    await run('grub-mkrescue', [
      `--install-modules=${modules.join(' ')}`,
      ...['--locales=', '--themes=', '--fonts='],
      ...['-o', join(scratch, 'tiny-live.iso'), tree, '-volid', 'GUESTDECK_TEST'],
    ])
    rmSync(tree, { recursive: true })
    makeReadable(scratch)
  })
  dropOthers(prefix, basename(dir))
  return join(dir, 'tiny-live.iso')
}

/**
 * A guest that has a driver for every device QEMU offers, and takes what is plugged in later into use: processors and
 * memory go online, network cards ask for an address, agents' ports get their names.
 * @returns files for `-kernel` and `-initrd`, and what belongs after `-append`
 */
export async function ensureDeviceGuest(): Promise<{ kernel: string; initrd: string; commandLine: string }> {
  const { vmlinuz, initrd } = await ensureGuestKernel('devices')
  return { kernel: vmlinuz, initrd, commandLine: DEVICE_COMMAND_LINE }
}

/** The guest of `ensureDeviceGuest` as a live ISO, for machines that boot from what is in them. */
export const ensureDeviceIso = (): Promise<string> => ensureGuestIso('devices')

/** Text mode under BIOS saves a mode switch; UEFI has none, and there the kernel needs GRUB's framebuffer. */
const grubConfig = (commandLine: string) => `set timeout=0
set default=0
if [ "$grub_platform" = efi ]; then
  insmod all_video
  set gfxpayload=keep
else
  set gfxpayload=text
fi
menuentry 'Guestdeck test guest' {
  linux /boot/vmlinuz ${commandLine}
  initrd /boot/initrd
}
`

/** QEMU may run as a user of its own. Scratch directories start out private. */
function makeReadable(dir: string): void {
  chmodSync(dir, 0o755)
}

if (import.meta.main) {
  const startedAt = performance.now()
  const built = {
    iso: await ensureGuestIso(),
    cloudIso: await ensureGuestIso('cloud'),
    kernel: await ensureGuestKernel(),
    cloudKernel: await ensureGuestKernel('cloud'),
    deviceIso: await ensureDeviceIso(),
    deviceGuest: await ensureDeviceGuest(),
    haltRom: ensureHaltRom(),
  }
  process.stdout.write(`${JSON.stringify(built, null, 2)}\n`)
  process.stderr.write(`built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
}
