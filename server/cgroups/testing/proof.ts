/**
 * For a test: runs as root in a guest with a kernel of its own, puts busy processes into groups by the product's own code
 * and prints what the kernel then did, as one line of JSON.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openControlGroups } from '../groups.ts'
import type { LimitSource } from '../plan.ts'

const BASE: LimitSource = {
  ...{ cpuWeight: 100, cpuLimit: null, ioWeight: 100, memoryCap: true },
  ...{ memoryMiB: 16, memoryMaxMiB: null, maxCpus: 1, displayMemoryMiB: null, disks: [], shares: [] },
}
const ID = (n: number) => `00000000-0000-7000-8000-00000000000${n}`
const dirOf = (n: number) => `/sys/fs/cgroup/guestdeck/${ID(n)}`
const read = (n: number, file: string) => readFileSync(`${dirOf(n)}/${file}`, 'utf8').trim()
const cpuMs = (n: number) => Number(/^usage_usec (\d+)/m.exec(read(n, 'cpu.stat'))?.[1]) / 1000
const shell = (script: string): ChildProcess => spawn('/bin/sh', ['-c', script], { stdio: 'ignore' })
const pidOf = (child: ChildProcess): number => child.pid ?? 0
const exitOf = (child: ChildProcess) =>
  new Promise<string | number | null>((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)))

const warnings: string[] = []
const groups = await openControlGroups({ setting: 'auto', warn: (message) => warnings.push(message) })
const all = [0, 1, 2, 3, 4].map((n) => groups.guest(ID(n)))
const [light, heavy, limited, hungry, forking] = all
if (!light || !heavy || !limited || !hungry || !forking) throw new Error('five groups')

// Two guests that want the one processor, one with four times the weight.
const held = await light.set(BASE, 'tcg')
await heavy.set({ ...BASE, cpuWeight: 400 }, 'tcg')
const busy = 'while :; do :; done'
// What it has started before is taken along.
const parent = shell(`(${busy}) & wait`)
const rivals = [parent, shell(busy)]
while (readFileSync(`/proc/${pidOf(parent)}/task/${pidOf(parent)}/children`, 'utf8') === '') await sleep(5)
await light.enclose(pidOf(parent))
await heavy.enclose(pidOf(rivals[1] ?? parent))
const before = [cpuMs(0), cpuMs(1)]
// Not to wait for something: this is how long it is measured, here and below.
await sleep(1500)
const weighed = [cpuMs(0) - (before[0] ?? 0), cpuMs(1) - (before[1] ?? 0)]
const together = read(0, 'cgroup.procs').split('\n').length
// The other way round, while they run.
await light.set({ ...BASE, cpuWeight: 400 }, 'tcg')
await heavy.set({ ...BASE, cpuWeight: 100 }, 'tcg')
const turned = [cpuMs(0), cpuMs(1)]
await sleep(1500)
const reweighed = [cpuMs(0) - (turned[0] ?? 0), cpuMs(1) - (turned[1] ?? 0)]
await Promise.all([light.remove(), heavy.remove()])

// One with a fifth of a processor, and nobody else who wants it.
await limited.set({ ...BASE, cpuLimit: 0.2 }, 'tcg')
const idle = shell(busy)
await limited.enclose(pidOf(idle))
const begun = performance.now()
const used = cpuMs(2)
await sleep(1000)
const limitedShare = (cpuMs(2) - used) / (performance.now() - begun)

// One that wants more memory than it is held to.
await hungry.set(BASE, 'kvm')
const cap = Number(read(3, 'memory.max'))
const appetite = `read go; exec dd if=/dev/zero of=/dev/null bs=${cap + 2 ** 20} count=1`
const glutton = spawn('/bin/sh', ['-c', appetite], { stdio: ['pipe', 'ignore', 'ignore'] })
await hungry.enclose(pidOf(glutton))
const eaten = exitOf(glutton)
glutton.stdin?.end('go\n')
const hungryEnd = await eaten
const peak = existsSync(`${dirOf(3)}/memory.peak`) ? Number(read(3, 'memory.peak')) : null
const oomKills = await hungry.oomKills()
const otherLives = idle.exitCode === null && idle.signalCode === null

// One that starts processes without end.
await forking.set(BASE, 'kvm')
const most = Number(read(4, 'pids.max'))
const bomb = spawn('/bin/sh', ['-c', 'read go; while :; do sleep 1000 & done'], { stdio: ['pipe', 'ignore', 'ignore'] })
await forking.enclose(pidOf(bomb))
const exploded = exitOf(bomb)
bomb.stdin?.end('go\n')
await Promise.race([exploded, sleep(15_000)])
const tasks = Number(read(4, 'pids.current'))
const refusals = Number(/^max (\d+)/m.exec(read(4, 'pids.events'))?.[1])
const free = await exitOf(shell('exit 7'))

await Promise.all([limited.remove(), hungry.remove(), forking.remove()])
const left = [0, 1, 2, 3, 4].filter((n) => existsSync(dirOf(n)))
process.stdout.write(
  `PROOF ${JSON.stringify({
    ...{ status: groups.status, held, weighed, reweighed, together, limitedShare },
    ...{ cap, peak, hungryEnd, oomKills, otherLives, most, tasks, refusals, free, left, warnings },
  })}\n`,
)
process.exit(0)
