/**
 * Run in a network namespace of its own (`unshare --net`), so that a test can make bridges without the host noticing.
 * Prints one JSON object: what happened, by name.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { PlannedTap } from '#server/spec/types.ts'
import { NetworkFault } from '../fault.ts'
import { readLink } from '../links.ts'
import { setRateLimit } from '../rate-limit.ts'
import { makeTap, removeTap } from '../taps.ts'

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
const fault = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'no fault'
  } catch (error) {
    if (error instanceof NetworkFault) return `${error.code}: ${error.message}`
    throw error
  }
}
const names = () => [...ip('-o', 'link').matchAll(/^\d+: (?<name>g[di][^:@]*)/gm)].map((match) => match.groups?.name)
const USER = { uid: 0, gid: 0, groups: [] }
const tap = (more: Partial<PlannedTap> = {}): PlannedTap => ({
  card: 'net0',
  name: 'gdtest0',
  bridge: 'br0',
  multiQueue: false,
  mtu: null,
  rateLimit: null,
  ...more,
})

async function life() {
  ip('link', 'add', 'br0', 'type', 'bridge')
  await makeTap(tap({ mtu: 1400, multiQueue: true, rateLimit: { inKBps: 1000, outKBps: 500 } }), USER)
  const made = await readLink('gdtest0')
  const withLimits = names()
  await makeTap(tap(), USER)
  const replaced = await readLink('gdtest0')
  const afterReplacing = names()
  await removeTap('gdtest0')
  await removeTap('gdtest0')
  return { made, withLimits, replaced, afterReplacing, afterRemoving: names() }
}

async function refusals() {
  ip('link', 'add', 'br0', 'type', 'bridge')
  ip('link', 'add', 'gdother', 'type', 'veth', 'peer', 'name', 'plain0')
  return {
    noBridge: await fault(makeTap(tap({ bridge: 'br7' }), USER)),
    notABridge: await fault(makeTap(tap({ bridge: 'plain0' }), USER)),
    taken: await fault(makeTap(tap({ name: 'gdother' }), USER)),
    badMtu: await fault(makeTap(tap({ mtu: 70_000 }), USER)),
    noTap: await fault(setRateLimit('gdnone', { inKBps: 1, outKBps: null })),
    left: names(),
  }
}

/** Kilobytes a second through a cable whose one end is limited as a tap would be, from one and to one. */
async function rates() {
  ip('link', 'add', 'gdcable', 'type', 'veth', 'peer', 'name', 'guest0')
  ip('address', 'add', '10.9.0.1/24', 'dev', 'gdcable')
  ip('link', 'set', 'gdcable', 'up')
  const guest = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec sleep 300'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(guest.stdout, 'data')
  try {
    ip('link', 'set', 'guest0', 'netns', String(guest.pid))
    const inGuest = ['-t', String(guest.pid), '-n']
    execFileSync('nsenter', [...inGuest, 'ip', 'address', 'add', '10.9.0.2/24', 'dev', 'guest0'])
    execFileSync('nsenter', [...inGuest, 'ip', 'link', 'set', 'guest0', 'up'])
    const measure = async (direction: 'in' | 'out', kilobytes: number): Promise<number> => {
      const bytes = kilobytes * 1000
      const took = Promise.withResolvers<number>()
      const server = createServer((socket) => {
        const begun = performance.now()
        const done = () => took.resolve(kilobytes / ((performance.now() - begun) / 1000))
        if (direction === 'in') {
          socket.end(Buffer.alloc(bytes))
          // The guest answers with a byte when it has it all.
          socket.once('data', done)
        } else {
          let got = 0
          socket.on('data', (chunk) => {
            got += chunk.length
            if (got === bytes) done()
          })
        }
        socket.on('error', took.reject)
      })
      server.listen(0, '10.9.0.1')
      await once(server, 'listening')
      const address = server.address()
      const port = typeof address === 'object' ? address?.port : 0
      const script = `const s=require('node:net').connect({port:${port},host:'10.9.0.1',allowHalfOpen:true});${
        direction === 'in' ? "s.resume();s.on('end',()=>s.end('x'))" : `s.end(Buffer.alloc(${bytes}));s.resume()`
      }`
      const client = spawn('nsenter', [...inGuest, process.execPath, '-e', script], { stdio: 'inherit' })
      const rate = await took.promise
      await once(client, 'exit')
      server.close()
      return rate
    }
    const free = { in: await measure('in', 4000), out: await measure('out', 4000) }
    await setRateLimit('gdcable', { inKBps: 1000, outKBps: 1000 })
    const slow = { in: await measure('in', 2000), out: await measure('out', 2000) }
    await setRateLimit('gdcable', { inKBps: 4000, outKBps: 4000 })
    const faster = { in: await measure('in', 4000), out: await measure('out', 4000) }
    await setRateLimit('gdcable', null)
    return { free, slow, faster, lifted: await measure('out', 4000), left: names() }
  } finally {
    guest.kill('SIGKILL')
  }
}

const scenarios = { life, refusals, rates }
const scenario = scenarios[process.argv[2] as keyof typeof scenarios]
process.stdout.write(JSON.stringify(await scenario()))
