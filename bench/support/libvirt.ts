/**
 * libvirt at its best: no security driver, no cgroups, no namespaces, guests as root, an init that reaps at once.
 * It runs in a mount namespace of its own with its own configuration, so nothing of the host's is changed.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)
const here = import.meta.dirname
const URI = 'qemu:///system'

export interface DomainOptions {
  readonly memoryMiB: number
  readonly devices: boolean
  /** Path of a qcow2 file. */
  readonly disk?: string
}

export interface Libvirt {
  readonly pid: number
  virsh(...args: string[]): Promise<string>
  /** One command on the open connection; milliseconds as the connection's own process measured them. */
  call(command: string): Promise<{ ms: number; count: number }>
  define(name: string, options: DomainOptions): Promise<void>
  stop(): Promise<void>
}

const CONF = `security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "file"
`

/** A domain with the devices that Guestdeck gives a VM by default, or with none. */
export function domainXml(name: string, options: DomainOptions): string {
  const devices = options.devices
    ? `<controller type="usb" model="qemu-xhci"/><controller type="sata" index="0"/>
       <interface type="user"><model type="virtio"/></interface>
       <serial type="pty"><target port="0"/></serial>
       <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
       <input type="tablet" bus="usb"/><input type="keyboard" bus="usb"/>
       <graphics type="vnc"><listen type="socket"/></graphics>
       <video><model type="virtio" primary="yes"/></video>
       <memballoon model="virtio"/><rng model="virtio"><backend model="random">/dev/urandom</backend></rng>`
    : `<controller type="usb" model="none"/><memballoon model="none"/>`
  const disk =
    options.disk === undefined
      ? ''
      : `<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="${options.disk}"/><target dev="vda" bus="virtio"/></disk>`
  return `<domain type="qemu"><name>${name}</name><memory unit="MiB">${options.memoryMiB}</memory><vcpu>1</vcpu>
    <os><type arch="x86_64" machine="q35">hvm</type></os><features><acpi/><apic/></features>
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${disk}${devices}</devices></domain>`
}

export async function startLibvirt(scratch: string): Promise<Libvirt> {
  mkdirSync(scratch, { recursive: true })
  // The packages alone may bring no configuration.
  const etc = join(scratch, 'etc')
  mkdirSync(join(etc, 'qemu'), { recursive: true })
  writeFileSync(join(etc, 'qemu.conf'), CONF)
  writeFileSync(join(etc, 'libvirtd.conf'), 'auth_unix_rw = "none"\n')
  // Debian's libvirtd does not start without its user, whom another package makes, whoever runs the guests.
  const accounts = ['passwd', 'group'].map((name) => {
    const text = readFileSync(`/etc/${name}`, 'utf8')
    const own = name === 'passwd' ? 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n' : 'libvirt-qemu:x:64055:\n'
    writeFileSync(join(scratch, name), text.includes('libvirt-qemu:') ? text : `${text}${own}`)
    return `mount --bind ${join(scratch, name)} /etc/${name} &&`
  })
  const script = `mount --make-rprivate / && mkdir -p /var/lib/libvirt /run/libvirt /var/cache/libvirt /etc/libvirt &&
    mount --bind ${etc} /etc/libvirt && ${accounts.join(' ')} exec /usr/sbin/libvirtd --pid-file ${join(scratch, 'libvirtd.pid')}`
  const daemon = spawn('/usr/bin/python3', [join(here, 'subreaper.py'), 'unshare', '--mount', 'sh', '-c', script], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  daemon.stderr?.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-4000)
  })
  const virsh = async (...args: string[]) =>
    (await run('virsh', ['-q', '-c', URI, ...args], { maxBuffer: 1 << 26 })).stdout
  await until(async () => {
    if (daemon.exitCode !== null) throw new Error(`libvirtd ended: ${stderr}`)
    await virsh('list')
  }, 20_000)
  const connection = spawn('/usr/bin/python3', [join(here, 'libvirt-peer.py'), URI], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: connection.stdout })[Symbol.asyncIterator]()
  await lines.next()
  const pid = Number(readFileSync(join(scratch, 'libvirtd.pid'), 'utf8'))
  return {
    pid,
    virsh,
    call: async (command) => {
      connection.stdin.write(`${command}\n`)
      const line = await lines.next()
      if (line.done) throw new Error('the libvirt connection ended')
      return JSON.parse(line.value) as { ms: number; count: number }
    },
    define: async (name, options) => {
      const file = join(scratch, `${name}.xml`)
      writeFileSync(file, domainXml(name, options))
      await virsh('define', file)
    },
    stop: async () => {
      for (const name of (await virsh('list', '--name')).split('\n').filter(Boolean))
        await virsh('destroy', name).catch(() => '')
      connection.stdin.end()
      await endOf(daemon)
    },
  }
}

/** Polls an action until it does not throw. @throws its last error after `timeoutMs` */
export async function until(action: () => Promise<unknown>, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs
  for (;;) {
    try {
      await action()
      return
    } catch (error) {
      if (performance.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

/** TERM, then KILL after five seconds. */
export async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
  await gone
  clearTimeout(timer)
}
