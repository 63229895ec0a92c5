/** Installs the peers, which only the bench needs, from the distribution's packages. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const PEERS: Record<string, { file: string; packages: string[] }> = {
  libvirt: {
    file: '/usr/sbin/libvirtd',
    packages: ['libvirt-daemon', 'libvirt-daemon-driver-qemu', 'libvirt-clients', 'python3-libvirt'],
  },
  virtClone: { file: '/usr/bin/virt-clone', packages: ['virtinst'] },
  netcat: { file: '/usr/bin/nc', packages: ['netcat-openbsd', 'curl'] },
  websockify: { file: '/usr/bin/websockify', packages: ['websockify', 'python3'] },
  cockpit: {
    file: '/usr/share/cockpit/machines',
    packages: ['cockpit-ws', 'cockpit-bridge', 'cockpit-machines', 'libvirt-dbus', 'dbus'],
  },
}

/** True when the peer is there afterwards; installs with apt as root when it is not. */
export function ensurePeer(peer: keyof typeof PEERS & string): boolean {
  const wanted = PEERS[peer]
  if (!wanted) return false
  if (existsSync(wanted.file)) return true
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    console.error(`bench: ${peer} is not installed; its rows are left out. Install: ${wanted.packages.join(' ')}`)
    return false
  }
  console.error(`bench: installing ${wanted.packages.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  try {
    execFileSync('apt-get', ['update', '-qq'], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...wanted.packages], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  } catch {
    console.error(`bench: installing ${peer} failed; its rows are left out`)
  }
  return existsSync(wanted.file)
}
