/** Cockpit's machines page for the list row: bridge and web service in a local session, on loopback, no TLS. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { endOf, until } from './libvirt.ts'

export interface Cockpit {
  readonly url: string
  stop(): Promise<void>
}

/** libvirtd must run before. @throws Error when a part does not come up */
export async function startCockpit(scratch: string): Promise<Cockpit> {
  mkdirSync(scratch, { recursive: true })
  const children: ChildProcess[] = []
  const start = (file: string, args: string[], env: Record<string, string> = {}) => {
    const child = spawn(file, args, { stdio: 'ignore', env: { ...process.env, ...env } })
    children.push(child)
    return child
  }
  const stop = async () => {
    for (const child of children.reverse()) await endOf(child)
  }
  try {
    const bus = join(scratch, 'bus')
    writeFileSync(
      join(scratch, 'bus.conf'),
      `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=${bus}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`,
    )
    const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}`, DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus}` }
    start('dbus-daemon', ['--nofork', '--config-file', join(scratch, 'bus.conf')])
    await until(async () => {
      if (!existsSync(bus)) throw new Error('no bus')
    }, 5000)
    start('libvirt-dbus', ['--system'], env)
    const port = 17_000 + (process.pid % 900)
    start(
      '/usr/lib/cockpit/cockpit-ws',
      ['--local-session=cockpit-bridge', '--no-tls', '-p', String(port), '-a', '127.0.0.1'],
      env,
    )
    const url = `http://127.0.0.1:${port}/cockpit/@localhost/machines/index.html`
    await until(async () => {
      const answer = await fetch(url)
      if (answer.status !== 200) throw new Error(`cockpit answers ${answer.status}`)
    }, 15_000)
    return { url, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
