/**
 * A real guest agent holds a real file system still for the moment of a snapshot, and it is let go whatever happens: the
 * moment fails, the dashboard is killed, it takes too long.
 */
import { randomInt } from 'node:crypto'
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensureGuestKernel, KERNEL_COMMAND_LINE } from '#e2e/guests/build.ts'
import type { Snapshot } from '#lib/schema/snapshot.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { vmRunPaths } from '#server/paths.ts'
import { whileFrozen } from '#server/snapshots/freeze.ts'
import { Dashboard } from '#server/testing/dashboard.ts'
import { dir } from '#server/testing/process-rig.ts'

/** One question to the agent: the dashboard's own conversations are as short. @throws Error when nobody answers */
async function agent<T>(path: string, execute: string, args?: object): Promise<T> {
  const socket = createConnection(path)
  const id = randomInt(2, 2 ** 31)
  try {
    const answer = new Promise<string>((resolve, reject) => {
      let text = ''
      // The channel has one client at a time, and a dashboard that is held still may be it.
      socket.setTimeout(15_000, () => reject(new Error('The agent did not answer.')))
      socket.on('error', reject)
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        const lines = text.split('\n')
        // What comes before the answer to the synchronisation was for somebody else.
        const at = lines.findIndex((line) => line.includes(`"return": ${id}}`))
        if (at >= 0 && lines.length > at + 2) resolve(lines[at + 1] ?? '')
      })
    })
    const sync = JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } })
    socket.write(Buffer.concat([Buffer.from([0xff]), Buffer.from(`${sync}\n`)]))
    socket.write(`${JSON.stringify({ execute, ...(args && { arguments: args }) })}\n`)
    const { return: result, error } = JSON.parse(await answer)
    if (error !== undefined) throw new Error(error.desc)
    return result
  } finally {
    socket.destroy()
  }
}
/** What a command in the guest printed. */
async function inGuest(path: string, command: string): Promise<string> {
  const { pid } = await agent<{ pid: number }>(path, 'guest-exec', {
    ...{ path: '/bin/sh', arg: ['-c', command], 'capture-output': true },
  })
  interface Status {
    exited: boolean
    exitcode?: number
    'out-data'?: string
  }
  let status: Status = { exited: false }
  const exited = async () => {
    status = await agent<Status>(path, 'guest-exec-status', { pid })
    return status.exited
  }
  await expect.poll(exited, { timeout: 120_000 }).toBe(true)
  expect(status.exitcode, command).toBe(0)
  return Buffer.from(status['out-data'] ?? '', 'base64').toString()
}

test('file systems are frozen before and thawed after the moment of a snapshot, also when it fails or the dashboard is killed (F44)', async () => {
  const kernelDir = mkdtempSync(join(tmpdir(), 'gd-kernel-'))
  using cleanUp = new DisposableStack()
  cleanUp.defer(() => rmSync(kernelDir, { recursive: true, force: true }))
  chmodSync(kernelDir, 0o755)
  const guest = await ensureGuestKernel('cloud')
  const directKernel = {
    ...{ kernel: join(kernelDir, 'vmlinuz'), initrd: join(kernelDir, 'initrd'), commandLine: KERNEL_COMMAND_LINE },
  }
  copyFileSync(guest.vmlinuz, directKernel.kernel)
  copyFileSync(guest.initrd, directKernel.initrd)
  for (const file of [directKernel.kernel, directKernel.initrd]) chmodSync(file, 0o644)

  using deck = await Dashboard.start({ GUESTDECK_IMAGE_DIRS: kernelDir })
  const { id } = await deck.ask<Vm>('POST', '/vms', {
    ...{ name: 'frozen', memoryMiB: 192, accelerator: 'tcg', cpuModel: 'qemu64', firmware: 'bios' },
    ...{ display: 'none', networks: [], directKernel },
    disks: [{ id: 'a', device: 'disk', sizeGiB: 1 }],
  })
  await deck.start(id)
  const path = vmRunPaths(join(dir, 'r'), id).agent
  const hasAgent = () =>
    agent(path, 'guest-ping').then(
      () => true,
      () => false,
    )
  await expect.poll(hasAgent, { timeout: 120_000, interval: 500 }).toBe(true)
  await inGuest(path, 'mke2fs -F /dev/vda 131072 >/dev/null 2>&1; modprobe ext4; mount -t ext4 /dev/vda /mnt')
  // Counts what reached the file system.
  const writer = 'n=0; while :; do n=$((n+1)); echo $n >/mnt/n; sync; echo $n >/tmp/n; usleep 50000; done'
  await inGuest(path, `(${writer}) >/dev/null 2>&1 & echo`)
  const count = async () => Number(await inGuest(path, 'cat /tmp/n'))
  const writes = async () => {
    const before = await count()
    await expect.poll(count, { timeout: 120_000, interval: 200 }).toBeGreaterThan(before)
  }
  await expect.poll(() => inGuest(path, 'test -e /tmp/n && echo yes; true'), { timeout: 120_000 }).toContain('yes')
  const status = () => agent<string>(path, 'guest-fsfreeze-status')
  const take = (name: string) => deck.ask('POST', `/vms/${id}/snapshots`, { name, kind: 'disk' })
  const snapshots = () => deck.items<Snapshot>(`/vms/${id}/snapshots`)
  const agentIsHeard = () => expect.poll(async () => (await deck.vm(id)).live?.agent, { timeout: 120_000 }).toBe(true)

  // The order, as it went over the sockets; and in the moment the guest does stand still.
  await agentIsHeard()
  let seen: string | null = null
  for (let tries = 1; seen === null; tries += 1) {
    await deck.holdAt(
      { at: '^> transaction' },
      () => take('still'),
      async () => {
        seen = await status().catch(() => null)
      },
    )
    await expect.poll(async () => (await snapshots())[0]?.state, { timeout: 120_000 }).toBe('complete')
    if (seen !== null) break
    expect(tries, 'the agent was never free while the dashboard stood still').toBeLessThan(4)
    for (const { id: snapshot } of await snapshots()) await deck.done('DELETE', `/vms/${id}/snapshots/${snapshot}`)
  }
  expect(seen).toBe('frozen')
  expect((await snapshots())[0]).toMatchObject({ consistency: 'frozen', detail: null })
  const order = deck.points().filter((point) => /^[<>!] (guest-fsfreeze|transaction)/.test(point))
  expect(order.slice(0, 6)).toEqual([
    ...['> guest-fsfreeze-freeze', '< guest-fsfreeze-freeze', '> transaction', '< transaction'],
    ...['> guest-fsfreeze-thaw', '< guest-fsfreeze-thaw'],
  ])
  expect(await status()).toBe('thawed')
  await writes()

  // The moment fails: thawed, and nothing of it is left.
  await deck.holdAt(
    { at: '^> transaction' },
    () => take('fails'),
    async () => {
      const nodes = await deck.qmp<{ 'node-name': string }[]>(id, 'query-named-block-nodes', { flat: true })
      const unused = nodes.map((node) => node['node-name']).filter((name) => /^a\.s[0-9a-f]{8}$/.test(name))
      for (const node of unused) await deck.qmp(id, 'blockdev-del', { 'node-name': node }).catch(() => null)
    },
  )
  await expect.poll(async () => (await snapshots()).length, { timeout: 120_000 }).toBe(1)
  await expect.poll(status, { timeout: 120_000 }).toBe('thawed')
  await writes()

  // Killed in a frozen moment, of a snapshot and of a backup: thawing is the first thing the next one does.
  const begun = [
    ['^< guest-fsfreeze-freeze', () => take('killed')],
    ['^> transaction', () => deck.ask('POST', `/vms/${id}/backups`, { freeze: true })],
  ] as const
  for (const [at, begin] of begun) {
    await deck.dieAt({ at }, begin)
    // What the next one asked, after the point the killed one came to. Each talk with an agent begins with a greeting.
    const points = deck.points()
    const asked = points.slice(points.findIndex((point) => new RegExp(at).test(point)) + 1)
    const talk = asked.filter((point) => /^> guest-(?!sync)/.test(point))
    expect(talk[0], asked.join('\n')).toBe('> guest-fsfreeze-thaw')
    expect(await status()).toBe('thawed')
    await writes()
  }
  expect((await snapshots()).map(({ name }) => name)).toEqual(['still'])
  expect(await deck.items(`/backups`)).toEqual([])

  // A moment that takes too long ends the freeze, and nobody says that it was one.
  const marks: string[] = []
  const mark = { set: () => void marks.push('set'), clear: () => void marks.push('clear') }
  const { outcome } = await whileFrozen(
    path,
    mark,
    async () => {
      await expect.poll(status, { timeout: 120_000, interval: 200 }).toBe('thawed')
    },
    500,
  )
  expect([outcome.kind, ...marks]).toEqual(['not', 'set', 'clear'])
  await writes()
}, 600_000)
