/**
 * Run in a network namespace of its own (`unshare --net`): a guest on a bridge through its whole life, then left behind
 * by QEMU and dashboard. Prints one JSON object: which taps there are at each step.
 */
import { execFileSync } from 'node:child_process'
import { readLink } from '#server/network/links.ts'
import { isGone, known, sleep } from './harness.ts'
import { newVmId, openLab, option } from './lab.ts'

const ip = (...args: string[]) => execFileSync('ip', args).toString()
const taps = () => [...ip('-o', 'link').matchAll(/^\d+: (gd[^:@]*)/gm)].map((match) => match[1])

ip('link', 'add', 'br0', 'type', 'bridge')
const lab = await openLab()
const vmId = newVmId()
try {
  const bare = await lab.prepare(vmId)
  const tap = { card: 'net0', name: 'gdtest0', bridge: 'br0', multiQueue: false, mtu: null, rateLimit: null }
  const card = ['-netdev', 'tap,id=net0.net,ifname=gdtest0,script=no,downscript=no', '-device', 'e1000,netdev=net0.net']
  const plan = { ...bare.plan, options: [...bare.plan.options, option(card)], taps: [tap] }
  const prepared = { ...bare, plan }
  const s = lab.supervisor()
  s.register(vmId)
  await s.start(vmId, 'ann', async () => prepared)
  const running = { taps: taps(), master: (await readLink('gdtest0'))?.master }
  await s.poweroff(vmId, 'ann')
  const broken = { ...prepared, plan: { ...plan, options: [...plan.options, option(['-frobnicate'])] } }
  const failed = await s
    .start(vmId, 'ann', async () => broken)
    .then(
      () => 'started',
      (error: Error) => error.message,
    )
  const afterFailure = taps()
  const { live } = await s.start(vmId, 'ann', async () => prepared)
  await s.detach()
  const pid = live?.pid ?? 0
  process.kill(pid, 'SIGKILL')
  while (!isGone(pid)) await sleep(5)
  const leftBehind = taps()
  const next = lab.supervisor()
  const { ended } = await next.adoptAll(known(vmId))
  await next.detach()
  process.stdout.write(
    JSON.stringify({ running, failed, afterFailure, leftBehind, ended: ended.length, afterAdoption: taps() }),
  )
} finally {
  await lab.close()
}
process.exit()
