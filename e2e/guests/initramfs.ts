/** The whole user space of a test guest: busybox, the guest agent, drivers and the scripts under `root/`. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import { type CpioEntry, writeCpio } from './cpio.ts'
import { run } from './tools.ts'

const ROOT = join(import.meta.dirname, 'root')
const BUSYBOX = ['/bin/busybox', '/usr/bin/busybox', '/sbin/busybox']
const AGENT = ['/usr/sbin/qemu-ga', '/usr/bin/qemu-ga']

const ETC = {
  passwd: 'root::0:0:root:/root:/bin/sh\n',
  group: 'root:x:0:\n',
  shadow: 'root::19000:0:99999:7:::\n',
  hostname: 'guest\n',
  hosts: '127.0.0.1 localhost guest\n',
  'os-release': 'NAME="Test guest"\nID=testguest\nVERSION_ID="1"\nPRETTY_NAME="Guestdeck test guest"\n',
}

/** Files of the build host that end up in the guest: part of the cache key. */
export function hostFiles(): { busybox: string; agent: string } {
  return { busybox: firstOf(BUSYBOX, 'busybox-static'), agent: firstOf(AGENT, 'qemu-guest-agent') }
}

/** Every script of the guest with its path in it. */
export function guestScripts(): { path: string; bytes: Buffer; mode: number }[] {
  return readdirSync(ROOT, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => {
      // Git keeps one permission bit; a guest's /init without it does not boot, so it is not left to a checkout.
      const bytes = readFileSync(file)
      return {
        path: file.slice(ROOT.length + 1),
        bytes,
        mode: bytes.subarray(0, 2).toString() === '#!' ? 0o755 : 0o644,
      }
    })
}

/**
 * @param modulesRoot directory that holds `lib/modules` as the guest shall see it
 * @returns the initramfs, zstd-compressed (CONFIG_RD_ZSTD is set in Debian's kernels)
 */
export async function buildInitramfs(modulesRoot: string): Promise<Buffer> {
  const { busybox, agent } = hostFiles()
  const entries: CpioEntry[] = []
  for (const path of ['dev', 'etc', 'mnt', 'proc', 'root', 'run', 'sys', 'tmp', 'usr/bin', 'usr/sbin', 'var/log']) {
    entries.push({ path, kind: 'directory' })
  }
  entries.push({ path: 'var/run', kind: 'symlink', target: '/run' })
  // The kernel opens it for /init before devtmpfs is there.
  entries.push({ path: 'dev/console', kind: 'device', major: 5, minor: 1 })

  const own = new Set(guestScripts().map(({ path }) => path))
  entries.push({ path: 'bin/busybox', kind: 'file', bytes: readFileSync(busybox), mode: 0o755 })
  for (const applet of (await run(busybox, ['--list'])).split('\n')) {
    // busybox lists itself: a link to itself would be the first thing not to boot.
    if (applet === '' || applet === 'busybox' || own.has(`sbin/${applet}`)) continue
    entries.push({ path: `bin/${applet}`, kind: 'symlink', target: 'busybox' })
  }
  // The kernel's own helpers are called by path (request_module, hotplug).
  for (const applet of ['modprobe', 'mdev', 'poweroff', 'reboot', 'halt']) {
    entries.push({ path: `sbin/${applet}`, kind: 'symlink', target: '../bin/busybox' })
  }

  entries.push({ path: 'usr/sbin/qemu-ga', kind: 'file', bytes: readFileSync(agent), mode: 0o755 })
  for (const library of new Set((await run('ldd', [agent])).match(/\/\S+/g) ?? [])) {
    entries.push({ path: library.slice(1), kind: 'file', bytes: readFileSync(library), mode: 0o755 })
  }
  entries.push({ path: 'etc/qemu', kind: 'directory' })

  for (const [name, text] of Object.entries(ETC)) {
    entries.push({ path: `etc/${name}`, kind: 'file', bytes: Buffer.from(text) })
  }
  for (const { path, bytes, mode } of guestScripts()) entries.push({ path, kind: 'file', bytes, mode })

  const modules = join(modulesRoot, 'lib/modules')
  for (const file of readdirSync(modules, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue
    const from = join(file.parentPath, file.name)
    entries.push({ path: from.slice(modulesRoot.length + 1), kind: 'file', bytes: readFileSync(from) })
  }
  return zstdCompressSync(writeCpio(entries), { params: { [constants.ZSTD_c_compressionLevel]: 9 } })
}

function firstOf(paths: readonly string[], packageName: string): string {
  const found = paths.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
  if (found === undefined) throw new Error(`None of ${paths.join(', ')} is here: install ${packageName}`)
  return found
}
