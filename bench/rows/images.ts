/**
 * Images and disks: `upload-1g`, `upload-memory`, `convert-1g`, `clone-linked-20g`, `clone-linked-20g-of-4g`, `backup-incremental`.
 *
 * Our side always includes what peers leave out: sign-in, the API, a checksum, fsync, the store. Files and their copies
 * are in the page cache on both sides.
 */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { API_BASE } from '#lib/api/contract.ts'
import type { Backup } from '#lib/schema/backup.ts'
import type { Image } from '#lib/schema/image.ts'
import type { Job } from '#lib/schema/job.ts'
import type { Volume, VolumeDetail } from '#lib/schema/storage.ts'
import type { Deck } from '../support/deck.ts'
import type { Libvirt } from '../support/libvirt.ts'
import { ensurePeer } from '../support/packages.ts'
import { freePort } from '../support/ports.ts'
import { residentBytes } from '../support/proc.ts'
import { interleave, type Row, round, row, timed } from '../support/stats.ts'

const run = promisify(execFile)
const MIB = 2 ** 20
const GIB = 2 ** 30
/** A gibibyte each time. */
const LARGE_ROUNDS = 5
const CLONE_ROUNDS = 9
const BACKUP_ROUNDS = 5
/** What the guest changes between two backups, in pieces of whole clusters as a file system writes large files. */
const CHANGED_PIECES = 16
const PIECE_BYTES = 4 * MIB

/** @param parts backup, clone, upload, convert; empty: all */
export async function imageRows(
  deck: Deck,
  libvirt: Libvirt | null,
  scratch: string,
  parts: readonly string[],
): Promise<Row[]> {
  mkdirSync(scratch, { recursive: true, mode: 0o711 })
  const file = join(scratch, 'random.img')
  const groups: Record<string, () => Promise<Row[]>> = {
    backup: () => backupRows(deck),
    clone: () => cloneRows(deck, libvirt, scratch),
    upload: () => uploadRows(deck, file, scratch),
    convert: () => convertRows(deck, file, scratch),
  }
  const unknown = parts.find((part) => !(part in groups))
  if (unknown !== undefined) throw new Error(`there is no part images.${unknown}`)
  const rows: Row[] = []
  for (const [part, measure] of Object.entries(groups)) {
    if (parts.length > 0 && !parts.includes(part)) continue
    if (part === 'upload' || part === 'convert') fillRandom(file, GIB)
    rows.push(...(await measure()))
  }
  return rows
}

function fillRandom(path: string, bytes: number): void {
  const to = openSync(path, 'w', 0o644)
  for (let at = 0; at < bytes; at += 16 * MIB) writeSync(to, randomBytes(16 * MIB))
  // A boot sector's mark: a raw disk is taken for one by what it holds.
  writeSync(to, Buffer.from([0x55, 0xaa]), 0, 2, 510)
  closeSync(to)
}

/** `nc` to `nc` over loopback into a file: no checksum, no fsync. */
async function netcat(file: string, target: string): Promise<void> {
  const port = await freePort()
  const into = openSync(target, 'w')
  const from = openSync(file, 'r')
  try {
    const listener = spawn('nc', ['-l', '127.0.0.1', String(port)], { stdio: ['ignore', into, 'inherit'] })
    const ended = once(listener, 'exit')
    for (;;) {
      const sender = spawn('nc', ['-N', '127.0.0.1', String(port)], { stdio: [from, 'ignore', 'ignore'] })
      const [code] = await once(sender, 'exit')
      if (code === 0) break
      // It does not listen yet; nothing of the file has been read.
      await sleep(2)
    }
    await ended
  } finally {
    closeSync(into)
    closeSync(from)
  }
}

/** Both sides start a C program that sends the file over loopback. Memory: the highest seen during an upload. */
async function uploadRows(deck: Deck, file: string, scratch: string): Promise<Row[]> {
  if (!ensurePeer('netcat')) return []
  const target = join(scratch, 'received')
  const growth: number[] = []
  const upload = async () => {
    const before = residentBytes(deck.pid)
    let most = before
    const timer = setInterval(() => {
      most = Math.max(most, residentBytes(deck.pid))
    }, 20)
    const at = performance.now()
    const { stdout } = await run('curl', [
      ...['-sS', '--fail-with-body', '-X', 'POST', '-T', file],
      ...['-H', `authorization: Bearer ${deck.token}`, '-H', 'content-type: application/octet-stream', '-H', 'expect:'],
      `${deck.base}${API_BASE}/images/upload?name=random.img`,
    ])
    const ms = performance.now() - at
    clearInterval(timer)
    growth.push((most - before) / MIB)
    await deck.call('DELETE', `/images/${(JSON.parse(stdout) as Image).id}`)
    return ms
  }
  const samples = await interleave(LARGE_ROUNDS, {
    netcat: async () => {
      const ms = await timed(() => netcat(file, target))
      rmSync(target)
      return ms
    },
    ours: upload,
  })
  const [warmUp = Number.NaN, ...later] = growth
  console.error(
    `upload-1g: memory grew by ${round(warmUp)} MiB in the first upload, then ${later.map(round).join(', ')}`,
  )
  return [
    row('upload-1g', 'ms', samples.ours, 'nc to file', samples.netcat),
    {
      name: 'upload-memory',
      ours: round(Math.max(...growth)),
      peer: GIB / MIB,
      peerName: 'size of the file',
      ratio: round(Math.max(...growth) / (GIB / MIB)),
      unit: 'MiB',
      n: growth.length,
    },
  ]
}

/** A raw disk made qcow2: as a job of the product, in its sandbox, and by the same qemu-img alone on the same file. */
async function convertRows(deck: Deck, file: string, scratch: string): Promise<Row[]> {
  const volume = await deck.call<Volume>('POST', '/volumes', { name: 'bench convert', sizeGiB: 1, format: 'raw' })
  const path = await headOf(deck, volume.id)
  await run('dd', [`if=${file}`, `of=${path}`, 'bs=16M', 'conv=notrunc,fsync', 'status=none'])
  const target = join(scratch, 'converted.qcow2')
  const samples = await interleave(LARGE_ROUNDS, {
    qemuImg: async () => {
      const source = await headOf(deck, volume.id)
      const ms = await timed(() =>
        run('qemu-img', ['convert', '-q', '-t', 'writeback', '-f', 'raw', '-O', 'qcow2', source, target]),
      )
      rmSync(target)
      return ms
    },
    ours: async () => {
      const ms = await timed(() => work(deck, `/volumes/${volume.id}/convert`, { format: 'qcow2' }))
      await work(deck, `/volumes/${volume.id}/convert`, { format: 'raw' })
      return ms
    },
  })
  await deck.call('DELETE', `/volumes/${volume.id}`)
  await deck.call('DELETE', `/volumes/${volume.id}`)
  return [row('convert-1g', 'ms', samples.ours, 'qemu-img convert', samples.qemuImg)]
}

/** What disks of 20 GiB hold: hardly anything, and as much as an installed system with a desktop. virt-clone copies it. */
const HELD_GIB = [1, 4] as const

async function cloneRows(deck: Deck, libvirt: Libvirt | null, scratch: string): Promise<Row[]> {
  const rows: Row[] = []
  for (const held of HELD_GIB) rows.push(...(await cloneRowsOf(held, deck, libvirt, scratch)))
  return rows
}

/** Ours ends when the clone is in the list of VMs. */
async function cloneRowsOf(heldGib: number, deck: Deck, libvirt: Libvirt | null, scratch: string): Promise<Row[]> {
  const name = heldGib === 1 ? 'clone-linked-20g' : `clone-linked-20g-of-${heldGib}g`
  const vm = await deck.create('bench source', { networks: [], disks: [{ device: 'disk', sizeGiB: 20 }] })
  const source = join(scratch, 'source.qcow2')
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', source, '20G'])
  const ours = join(deck.dataDir, 'vms', vm.id, `${vm.spec.disks[0]?.id}.qcow2`)
  for (const path of [source, ours]) {
    await run('qemu-io', ['-f', 'qcow2', ...pieces((heldGib * GIB) / (64 * MIB), 64 * MIB), path])
  }
  const overlay = join(scratch, 'overlay.qcow2')
  const withPeer = libvirt !== null && ensurePeer('virtClone')
  if (withPeer) await libvirt.define('gd-source', { memoryMiB: 64, devices: false, disk: source })
  let count = 0
  const samples = await interleave(CLONE_ROUNDS, {
    create: async () => {
      const ms = await timed(() =>
        run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', source, '-F', 'qcow2', overlay]),
      )
      rmSync(overlay)
      return ms
    },
    ours: async () => {
      let made: string | null = null
      const ms = await timed(async () => {
        made = await work(deck, `/vms/${vm.id}/clones`, { kind: 'linked', name: `bench clone ${count++}` })
      })
      if (made !== null) await deck.call('DELETE', `/vms/${made}?disks=delete`)
      return ms
    },
    virtClone: async () => {
      if (!withPeer) return Number.NaN
      const target = join(scratch, 'clone.qcow2')
      const ms = await timed(() =>
        run('virt-clone', ['-q', '--connect', 'qemu:///system', '-o', 'gd-source', '-n', 'gd-clone', '-f', target]),
      )
      await libvirt.virsh('undefine', 'gd-clone')
      rmSync(target)
      return ms
    },
  })
  await deck.call('DELETE', `/vms/${vm.id}?disks=delete`)
  if (withPeer) await libvirt.virsh('undefine', 'gd-source')
  rmSync(source)
  const rows = [row(name, 'ms', samples.ours, 'qemu-img create', samples.create)]
  if (withPeer) rows.push(row(name, 'ms', samples.ours, 'virt-clone', samples.virtClone))
  return rows
}

/**
 * Bytes, not time: what an incremental backup writes against what was changed through the running guest's block
 * device. QEMU itself does the writing (`qemu-io` of its monitor), where a guest's own would arrive.
 */
async function backupRows(deck: Deck): Promise<Row[]> {
  const vm = await deck.create('bench backup', {
    networks: [],
    display: 'none',
    disks: [{ device: 'disk', sizeGiB: 4 }],
  })
  await deck.call('POST', `/vms/${vm.id}/start`)
  const monitor = await Monitor.open(join(deck.runDir, vm.id, 'qmp2.sock'))
  const moved: number[] = []
  try {
    const device = await monitor.diskDevice()
    const backUp = async () => {
      const id = await work(deck, `/vms/${vm.id}/backups`, { compression: 'none', freeze: false })
      return deck.call<Backup>('GET', `/backups/${id}`)
    }
    // In pieces: QEMU answers nobody while it writes so.
    for (let at = 0; at < 128 * MIB; at += PIECE_BYTES) await monitor.qemuIo(device, `write -P 1 ${at} ${PIECE_BYTES}`)
    await backUp()
    for (let n = 0; n < BACKUP_ROUNDS; n++) {
      for (let piece = 0; piece < CHANGED_PIECES; piece++) {
        await monitor.qemuIo(device, `write -P ${n + 2} ${(piece * 31 + n * 7) * PIECE_BYTES} ${PIECE_BYTES}`)
      }
      const backup = await backUp()
      if (backup.kind !== 'incremental') throw new Error('the backup was not incremental')
      moved.push(backup.sizeBytes / MIB)
    }
  } finally {
    monitor.close()
    await deck.call('POST', `/vms/${vm.id}/poweroff`)
  }
  const changed = (CHANGED_PIECES * PIECE_BYTES) / MIB
  return [
    row(
      'backup-incremental',
      'MiB',
      moved,
      'changed',
      moved.map(() => changed),
    ),
  ]
}

/** Starts long work and waits for its end. @returns id of what it made */
async function work(deck: Deck, path: string, body: unknown): Promise<string | null> {
  let job = await deck.call<Job>('POST', path, body)
  while (job.endedAt === null) job = await deck.call<Job>('GET', `/jobs/${job.id}?wait=60`)
  if (job.state !== 'done') throw new Error(`${job.title}: ${job.error?.message ?? job.state}`)
  return job.result
}

/** The file of a disk that is written. */
async function headOf(deck: Deck, volumeId: string): Promise<string> {
  const { chain } = await deck.call<VolumeDetail>('GET', `/volumes/${volumeId}`)
  const layers = join(deck.dataDir, 'layers')
  const name = readdirSync(layers).find((file) => file.startsWith(chain[0]?.id ?? '?'))
  if (name === undefined) throw new Error('the disk has no file')
  return join(layers, name)
}

const pieces = (count: number, bytes: number): string[] =>
  Array.from({ length: count }, (_, n) => ['-c', `write -P ${n + 1} ${n * bytes} ${bytes}`]).flat()

/** A guest's second monitor. */
class Monitor {
  readonly #socket: Socket
  readonly #lines: AsyncIterator<string>
  private constructor(socket: Socket) {
    this.#socket = socket
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  }

  static async open(path: string): Promise<Monitor> {
    const socket = connect(path)
    await once(socket, 'connect')
    const monitor = new Monitor(socket)
    await monitor.#lines.next()
    await monitor.ask('qmp_capabilities')
    return monitor
  }

  async ask(execute: string, args: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    for (;;) {
      const line = await this.#lines.next()
      if (line.done) throw new Error('the monitor was closed')
      const answer = JSON.parse(line.value) as { return?: unknown; error?: { desc: string } }
      if (answer.error) throw new Error(`${execute}: ${answer.error.desc}`)
      if (answer.return !== undefined) return answer.return
    }
  }

  /** The device of the one disk that is written. */
  async diskDevice(): Promise<string> {
    const devices = (await this.ask('query-block')) as { qdev?: string; inserted?: { ro: boolean } }[]
    const device = devices.find(({ inserted }) => inserted?.ro === false)?.qdev
    if (device === undefined) throw new Error('the guest has no disk')
    return device
  }

  async qemuIo(device: string, command: string): Promise<void> {
    const said = await this.ask('human-monitor-command', { 'command-line': `qemu-io -d ${device} "${command}"` })
    // What it wrote it tells QEMU's own output; here it complains.
    if (said !== '') throw new Error(`qemu-io: ${said}`)
  }

  close(): void {
    this.#socket.destroy()
  }
}
