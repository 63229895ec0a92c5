/**
 * The Debian package on a machine of its own: a real systemd in namespaces over a copy-on-write view of this one.
 * Installed, started, upgraded and removed while a guest runs.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const HERE = import.meta.dirname
const ROOT = join(HERE, '../..')
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

function missing(): string | null {
  if (process.getuid?.() !== 0) return 'not root'
  if (!existsSync('/lib/systemd/systemd') || !existsSync('/usr/bin/dpkg-deb')) return 'no Debian with systemd'
  if (!existsSync(join(ROOT, '.next/BUILD_ID'))) return 'the pages are not built'
  if (!readFileSync('/proc/filesystems', 'utf8').includes('overlay')) return 'no overlay file system'
  try {
    execFileSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { stdio: 'ignore' })
  } catch {
    return 'no namespaces'
  }
  return null
}
const reason = missing()

let dir: string
let container: ChildProcess
let init = 0

/** Runs a command on that machine. */
function inside(argv: readonly string[], options: { input?: string; mayFail?: boolean } = {}): string {
  const enter = ['--target', String(init), '--mount', '--pid', '--net', '--uts', '--ipc', '--cgroup']
  try {
    return execFileSync('nsenter', [...enter, '--wdns=/', ...argv], {
      encoding: 'utf8',
      env: { ...process.env, PATH, LANG: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
      input: options.input ?? '',
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  } catch (error) {
    if (options.mayFail === true) return ''
    const { stderr, stdout } = error as { stderr?: string; stdout?: string }
    throw new Error(
      `${argv.join(' ')}: ${stdout ?? ''}${stderr ?? ''}${inside(['journalctl', '-n', '30', '--no-pager', '-u', 'guestdeck'], { mayFail: true })}`,
    )
  }
}
const isActive = () => inside(['systemctl', 'is-active', 'guestdeck'], { mayFail: true }).trim() === 'active'
const journal = () => inside(['journalctl', '--no-pager', '-o', 'cat', '-u', 'guestdeck'], { mayFail: true })

interface Reply {
  readonly status: number
  readonly text: string
}
const CLIENT = `
const [method, path, token, body] = JSON.parse(process.argv[1])
const answer = await fetch('http://127.0.0.1:8686' + path, {
  method,
  headers: { ...(token && { authorization: 'Bearer ' + token }), ...(body && { 'content-type': 'application/json' }) },
  ...(body && { body: JSON.stringify(body) }),
})
process.stdout.write(JSON.stringify({ status: answer.status, text: await answer.text() }))
`
let token = ''
function ask(method: string, path: string, body?: object): Reply {
  const request = JSON.stringify([method, path, token, body ?? null])
  return JSON.parse(inside([process.execPath, '--input-type=module', '-e', CLIENT, request]))
}
// biome-ignore lint/suspicious/noExplicitAny: whatever the API answered
const json = (reply: Reply): any => JSON.parse(reply.text)
const serves = async () =>
  expect
    .poll(
      () =>
        inside([process.execPath, '-e', "fetch('http://127.0.0.1:8686/healthz').then((a) => console.log(a.status))"], {
          mayFail: true,
        }).trim(),
      {
        timeout: 90_000,
        interval: 500,
        message: journal(),
      },
    )
    .toBe('200')

beforeAll(async () => {
  if (reason !== null) return
  dir = mkdtempSync(join(tmpdir(), 'gd-package-'))
  const build = [
    join(HERE, 'build-deb.mjs'),
    '--fast',
    '--out',
    join(dir, 'debs'),
    '--version',
    '0.1.0',
    '--version',
    '0.1.1',
  ]
  execFileSync(process.execPath, build, { stdio: ['ignore', 'ignore', 'inherit'] })
  mkdirSync(join(dir, 'machine'))
  const own = ['--mount', '--pid', '--fork', '--kill-child=KILL', '--net', '--uts', '--ipc', '--propagation', 'private']
  container = spawn('unshare', [...own, 'sh', join(HERE, 'container.sh'), join(dir, 'machine')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const children = () => readFileSync(`/proc/${container.pid}/task/${container.pid}/children`, 'utf8').trim()
  const deadline = performance.now() + 60_000
  for (;;) {
    init = Number(children().split(' ')[0] ?? 0)
    if (init > 0 && inside(['systemctl', 'is-system-running'], { mayFail: true }) !== '') break
    // `is-system-running` fails with "degraded" as well, which is as good.
    if (init > 0 && inside(['systemctl', 'is-active', 'basic.target'], { mayFail: true }).trim() === 'active') break
    if (performance.now() > deadline) throw new Error('systemd did not come up')
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  mkdirSync(`/proc/${init}/root/tmp/debs`)
  for (const deb of readdirSync(join(dir, 'debs'))) {
    execFileSync('cp', [join(dir, 'debs', deb), `/proc/${init}/root/tmp/debs/`])
  }
}, 600_000)
afterAll(async () => {
  if (reason !== null || dir === undefined) return
  if (container?.exitCode === null) {
    const ended = new Promise((resolve) => container.once('exit', resolve))
    // The first process of a pid namespace takes all others with it.
    if (init > 0) process.kill(init, 'SIGKILL')
    await ended
  }
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

const deb = (version: string) => readdirSync(join(dir, 'debs')).find((name) => name.includes(`_${version}_`)) ?? ''
const install = (version: string) => inside(['dpkg', '--install', `/tmp/debs/${deb(version)}`])

const PACKAGE = 'the package installs, restarts, upgrades and removes cleanly while a guest runs (F23)'
test.skipIf(reason !== null)(
  reason === null ? PACKAGE : `${PACKAGE}, left out: ${reason}`,
  { timeout: 600_000 },
  async () => {
    expect(install('0.1.0')).toContain('Setup code')
    await serves()
    expect(isActive()).toBe(true)
    expect(inside(['systemctl', 'is-enabled', 'guestdeck']).trim()).toBe('enabled')
    // Printed once the accelerator has been looked at, some time after the port listens.
    await expect.poll(journal, { timeout: 60_000, interval: 500 }).toMatch(/Setup code: \S+/)
    expect(journal()).not.toContain('without a namespace sandbox')
    const page = ask('GET', '/login')
    expect(page.status).toBe(200)
    const script = /\/_next\/static\/[^"]+\.js/.exec(page.text)?.[0] ?? ''
    expect(ask('GET', script).status).toBe(200)

    inside(['guestdeck', 'user', 'add', 'ann', '--role', 'admin', '--password-stdin'], {
      input: 'correct horse battery\n',
    })
    token = inside(['guestdeck', 'token', 'create', '--user', 'ann', '--label', 'test']).trim()
    // Whoever answers has given root up; what starts guests is root's, and nothing answers there.
    const main = inside(['systemctl', 'show', '--property=MainPID', '--value', 'guestdeck']).trim()
    const own = inside(['cat', `/proc/${main}/status`])
    expect(own).toMatch(/^Uid:\t(\d{5,})\t\1\t\1\t\1$/m)
    for (const line of [/^CapPrm:\t0+$/m, /^CapEff:\t0+$/m]) expect(own).toMatch(line)
    expect(inside(['ps', '--ppid', main, '-o', 'uid=,args='])).toMatch(/^ *0 .*launcher\/serve\.ts/m)
    expect(json(ask('GET', '/api/v1/host')).isolation.summary).toContain('a small launcher stays root')

    // What needs a user of its own, a helper, a directory of root's and the sandbox of qemu-img.
    const created = ask('POST', '/api/v1/vms', {
      ...{ name: 'demo', memoryMiB: 64, cpus: 1, accelerator: 'tcg', firmware: 'uefi', tpm: 'tpm-crb' },
      disks: [{ device: 'disk', sizeGiB: 1 }],
    })
    expect(created.status, created.text).toBe(201)
    const vm = `/api/v1/vms/${json(created).id}`
    const started = ask('POST', `${vm}/start`)
    expect(started.status, `${started.text}${journal()}`).toBe(200)
    const { pid } = json(started).live

    // A guest may do nothing that its user may not, and its user may do nothing.
    const status = inside(['cat', `/proc/${pid}/status`])
    expect(status).not.toMatch(/^Uid:\t0\t/m)
    for (const line of [/^CapEff:\t0+$/m, /^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m]) expect(status).toMatch(line)

    const isSame = () => {
      const view = json(ask('GET', vm))
      expect([view.state, view.live?.pid]).toEqual(['running', pid])
    }
    inside(['systemctl', 'restart', 'guestdeck'])
    await serves()
    isSame()
    inside(['systemctl', 'reload', 'guestdeck'])
    expect(isActive()).toBe(true)

    install('0.1.1')
    await serves()
    expect(json(ask('GET', '/api/v1/host')).guestdeckVersion).toBe('0.1.1')
    isSame()

    inside(['dpkg', '--remove', 'guestdeck'])
    expect(isActive()).toBe(false)
    expect(inside(['ls', '/usr/lib'])).not.toMatch(/^guestdeck$/m)
    expect(inside(['cat', `/proc/${pid}/comm`])).toContain('qemu')
    expect(inside(['ls', '/var/lib/guestdeck'])).toContain('state.db')

    install('0.1.1')
    await serves()
    isSame()
    expect(ask('POST', `${vm}/poweroff`).status).toBe(200)
    inside(['dpkg', '--purge', 'guestdeck'])
    expect(existsSync(`/proc/${init}/root/etc/default/guestdeck`)).toBe(false)
    expect(existsSync(`/proc/${init}/root/var/lib/guestdeck/state.db`)).toBe(true)
    expect(inside(['ls', '/etc/systemd/system/multi-user.target.wants'])).not.toContain('guestdeck')
    expect(inside(['dpkg-query', '--show', 'guestdeck'], { mayFail: true })).toBe('')
  },
)

test.skipIf(reason !== null)('systemd finds nothing wrong with the unit', () => {
  // `verify` wants the program to be there.
  const unit = readFileSync(join(HERE, 'guestdeck.service'), 'utf8').replaceAll(
    '/usr/lib/guestdeck/bin/node',
    '/bin/true',
  )
  const file = join(dir, 'guestdeck.service')
  execFileSync('tee', [file], { input: unit, stdio: ['pipe', 'ignore', 'ignore'] })
  const said = execFileSync('systemd-analyze', ['verify', '--man=no', file], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  expect(said).toBe('')
})
