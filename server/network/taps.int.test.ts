import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const run = promisify(execFile)

/** Namespaces and taps need root and the kernel's support; a machine without says so in the list of skipped tests. */
function canMakeTaps(): boolean {
  try {
    execFileSync('unshare', ['--net', 'ip', 'tuntap', 'add', 'dev', 'gdprobe', 'mode', 'tap'], { stdio: 'ignore' })
    execFileSync('unshare', ['--net', 'ip', 'link', 'add', 'br0', 'type', 'bridge'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Whether this kernel has what limits need; without it the refusal is what is tested. */
function canLimit(): boolean {
  try {
    const steps =
      'ip link add i0 type ifb && ip link set i0 up && tc qdisc add dev i0 root tbf rate 1mbit burst 16kb latency 50ms && tc qdisc add dev i0 handle ffff: ingress'
    const rest = 'tc filter add dev i0 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev i0'
    execFileSync('unshare', ['--net', 'sh', '-c', `${steps} && ${rest}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

// biome-ignore lint/suspicious/noExplicitAny: each scenario prints a shape of its own, asserted below.
async function inNamespace(scenario: string): Promise<any> {
  const script = join(import.meta.dirname, 'testing/namespace.ts')
  const { stdout } = await run('unshare', ['--net', process.execPath, script, scenario], { timeout: 100_000 })
  return JSON.parse(stdout)
}

const limits = canLimit()
describe.skipIf(!canMakeTaps())('a tap', () => {
  test.skipIf(!limits)('is made to plan, replaces a leftover, and is removed with all that belongs to it', async () => {
    const seen = await inNamespace('life')
    expect(seen.made).toMatchObject({
      master: 'br0',
      mtu: 1400,
      flags: expect.arrayContaining(['UP']),
      linkinfo: { info_kind: 'tun', info_data: { type: 'tap', multi_queue: true, persist: true } },
    })
    expect(seen.withLimits.sort()).toEqual(['gdtest0', 'gitest0'])
    expect(seen.replaced).toMatchObject({ mtu: 1500, linkinfo: { info_data: { multi_queue: false } } })
    expect(seen.afterReplacing).toEqual(['gdtest0'])
    expect(seen.afterRemoving).toEqual([])
  })
  test('is refused in plain words, and then nothing of it is left', async () => {
    const seen = await inNamespace('refusals')
    expect(seen.noBridge).toMatch(/^host-resource: The host has no bridge called br7\. /)
    expect(seen.notABridge).toMatch(
      /^host-resource: plain0 is a network interface .* no bridge \(it is of kind veth\)\./,
    )
    expect(seen.taken).toMatch(/^host-resource: The host already has a network interface called gdother/)
    expect(seen.badMtu).toMatch(/^host-resource: The host cannot set up the interface gdtest0: mtu greater/)
    expect(seen.noTap).toMatch(/^host-resource: .* gdnone is gone/)
    expect(seen.left).toEqual(['gdother'])
  })
  test.skipIf(!limits)('holds traffic to its limits both ways, changed and lifted while it flows', async () => {
    const { free, slow, faster, lifted, left } = await inNamespace('rates')
    for (const way of ['in', 'out'] as const) {
      // A burst may pass at first, and a busy host may be slower than any limit, never faster.
      expect(slow[way]).toBeLessThan(1300)
      expect(faster[way]).toBeLessThan(5200)
      expect(faster[way]).toBeGreaterThan(slow[way] * 1.3)
      expect(free[way]).toBeGreaterThan(slow[way] * 4)
    }
    expect(lifted).toBeGreaterThan(slow.out * 4)
    expect(left).toEqual(['gdcable'])
  })
  test.skipIf(limits)('with a limit is refused where the kernel has no means to hold one', async () => {
    await expect(inNamespace('life')).rejects.toThrow(/Remove the card's rate limit, or install a kernel/)
  })
})
