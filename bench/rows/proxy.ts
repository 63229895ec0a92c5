/** `proxy-time-per-GB`, `proxy-cpu-per-GB`, `proxy-echo-p50`, `proxy-memory-per-viewer`: the console proxy against Debian's websockify. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import type * as z from 'zod'
import type { ConsoleTicketInput } from '#lib/api/operations/vms.ts'
import type { Deck } from '../support/deck.ts'
import { endOf, until } from '../support/libvirt.ts'
import { type LineProcess, startLineProcess } from '../support/lines.ts'
import { answers, freePort } from '../support/ports.ts'
import { cpuSeconds, processTree, residentBytes } from '../support/proc.ts'
import { interleave, type Row, round, row } from '../support/stats.ts'

const PYTHON = '/usr/bin/python3'
const support = join(import.meta.dirname, '../support')
const BULK_MIB = 512
const PER_GB = 1000 / ((BULK_MIB * 1048576) / 1e6)
const VIEWERS = 8

export async function proxyRows(deck: Deck, websockify: boolean, scratch: string): Promise<Row[]> {
  const vm = await deck.create('bench proxy', { memoryMiB: 32, accelerator: 'tcg' })
  await deck.call('POST', `/vms/${vm.id}/start`)
  await deck.call('POST', `/vms/${vm.id}/pause`)
  // The guest's own VNC server paints at its own pace; a scripted one behind the same socket name shows the proxy's limit.
  const socketPath = join(deck.runDir, vm.id, 'vnc.sock')
  renameSync(socketPath, `${socketPath}.real`)
  const source = spawn(PYTHON, [join(support, 'vnc-source.py'), socketPath], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(source.stdout, 'data')
  const port = await freePort()
  const peer = websockify
    ? spawn('/usr/bin/websockify', [`127.0.0.1:${port}`, `--unix-target=${socketPath}`], {
        stdio: 'ignore',
        cwd: scratch,
      })
    : null
  const viewerArgs = (kind: 'raw' | 'websockify') =>
    kind === 'raw' ? ['raw', socketPath] : ['ws', '127.0.0.1', String(port), '/', `http://127.0.0.1:${port}`, 'binary']
  const openPeer = (kind: 'raw' | 'websockify') =>
    startLineProcess(PYTHON, [join(support, 'vnc-viewer.py'), ...viewerArgs(kind)])
  const openOurs = async () => {
    const body: z.input<typeof ConsoleTicketInput> = { kind: 'vnc', mode: 'control' }
    const { ticket, path } = await deck.call<{ ticket: string; path: string }>(
      'POST',
      `/vms/${vm.id}/console-tickets`,
      body,
    )
    return startLineProcess(PYTHON, [
      join(support, 'vnc-viewer.py'),
      'ws',
      '127.0.0.1',
      String(deck.port),
      path,
      deck.base,
      `binary, ${ticket}`,
    ])
  }
  const opened: LineProcess[] = []
  try {
    const ours = await openOurs()
    const raw = await openPeer('raw')
    opened.push(ours, raw)
    let theirs: LineProcess | null = null
    if (peer) {
      await until(() => answers(port), 10_000)
      theirs = await openPeer('websockify')
      opened.push(theirs)
    }
    const peerCpu = () => processTree(peer?.pid ?? 0).reduce((sum, pid) => sum + cpuSeconds(pid), 0)
    const cpu = { ours: [] as number[], websockify: [] as number[] }
    const bulk = async (viewer: LineProcess) =>
      (await viewer.ask<{ seconds: number }>(`bulk ${BULK_MIB}`)).seconds * PER_GB
    const time = await interleave(9, {
      raw: () => bulk(raw),
      ours: async () => {
        const before = cpuSeconds(deck.pid)
        const seconds = await bulk(ours)
        cpu.ours.push((cpuSeconds(deck.pid) - before) * PER_GB)
        return seconds
      },
      websockify: async () => {
        if (!theirs) return Number.NaN
        const before = peerCpu()
        const seconds = await bulk(theirs)
        cpu.websockify.push((peerCpu() - before) * PER_GB)
        return seconds
      },
    })
    const echo = async (viewer: LineProcess) => (await viewer.ask<{ p50: number }>('echo 3000')).p50
    const echoes = await interleave(9, {
      raw: () => echo(raw),
      ours: () => echo(ours),
      websockify: async () => (theirs ? echo(theirs) : Number.NaN),
    })
    const rows = [
      row('proxy-time-per-GB', 's', time.ours, 'raw', time.raw),
      row('proxy-echo-p50', 'us', echoes.ours, 'raw', echoes.raw),
    ]
    if (theirs && peer) {
      rows.push(row('proxy-time-per-GB', 's', time.ours, 'websockify', time.websockify))
      rows.push(row('proxy-cpu-per-GB', 'cpu-s', cpu.ours.slice(1), 'websockify', cpu.websockify.slice(1)))
      rows.push(row('proxy-echo-p50', 'us', echoes.ours, 'websockify', echoes.websockify))
      rows.push(await memoryRow(deck, peer.pid ?? 0, ours, opened, openOurs, () => openPeer('websockify')))
    }
    return rows
  } finally {
    for (const viewer of opened) await viewer.end()
    if (peer) await endOf(peer)
    await endOf(source)
    renameSync(`${socketPath}.real`, socketPath)
    await deck.call('POST', `/vms/${vm.id}/poweroff`)
    await deck.call('DELETE', `/vms/${vm.id}`)
  }
}

/** What each further viewer adds after it has carried 16 MiB. */
async function memoryRow(
  deck: Deck,
  peerPid: number,
  first: LineProcess,
  opened: LineProcess[],
  openOurs: () => Promise<LineProcess>,
  openTheirs: () => Promise<LineProcess>,
): Promise<Row> {
  await first.ask('bulk 16')
  const peerMemory = () => processTree(peerPid).reduce((sum, pid) => sum + residentBytes(pid), 0)
  const before = { ours: residentBytes(deck.pid), theirs: peerMemory() }
  for (let n = 1; n < VIEWERS; n++) {
    for (const open of [openOurs, openTheirs]) {
      const viewer = await open()
      opened.push(viewer)
      await viewer.ask('bulk 16')
    }
  }
  const perViewer = (bytes: number) => Math.max(bytes, 0) / (VIEWERS - 1) / 1e6
  const ours = perViewer(residentBytes(deck.pid) - before.ours)
  const theirs = perViewer(peerMemory() - before.theirs)
  return {
    name: 'proxy-memory-per-viewer',
    ours: round(ours),
    peer: round(theirs),
    peerName: 'websockify',
    ratio: round(ours / theirs),
    unit: 'MB',
    n: VIEWERS - 1,
  }
}
