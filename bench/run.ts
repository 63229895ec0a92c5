/**
 * `npm run bench [-- --json FILE] [--only power,images,images.upload,fleet,proxy,page]`: Guestdeck against its peers and the physical
 * limits, interleaved in one run, medians, `ratio` = ours / peer (lower is better). Needs root, because libvirt's
 * daemon is a system service; without it, rows without libvirt remain.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { adoptRows, cpuRows, eventRows, listRows, makeFleet } from './rows/fleet.ts'
import { imageRows } from './rows/images.ts'
import { pageRows } from './rows/page.ts'
import { powerRows } from './rows/power.ts'
import { proxyRows } from './rows/proxy.ts'
import { startDeck } from './support/deck.ts'
import { startLibvirt } from './support/libvirt.ts'
import { ensurePeer } from './support/packages.ts'
import type { Row } from './support/stats.ts'

const { values } = parseArgs({
  options: { json: { type: 'string' }, only: { type: 'string' } },
  allowPositionals: true,
})
const only = values.only?.split(',')
const wanted = (name: string) => only?.some((part) => part === name || part.startsWith(`${name}.`)) ?? true
/** Of a group whose parts can be run alone; empty: all of them. */
const partsOf = (name: string) =>
  only === undefined || only.includes(name)
    ? []
    : only.filter((part) => part.startsWith(`${name}.`)).map((part) => part.slice(name.length + 1))

const scratch = mkdtempSync('/tmp/gdbench-')
chmodSync(scratch, 0o711)
const rows: Row[] = []
const print = (fresh: Row[]) => {
  for (const r of fresh) {
    rows.push(r)
    console.log(
      `${r.name.padEnd(24)} ${String(r.ours).padStart(9)} ${r.unit.padEnd(10)} ${r.peerName.padEnd(16)} ${String(r.peer).padStart(9)}   ratio ${r.ratio}  n ${r.n}`,
    )
  }
}

const isRoot = process.getuid?.() === 0
const comparesLibvirt = ['power', 'images', 'fleet', 'page'].some(wanted)
const libvirt = isRoot && comparesLibvirt && ensurePeer('libvirt') ? await startLibvirt(join(scratch, 'libvirt')) : null
try {
  if (wanted('power') || wanted('proxy') || wanted('fleet')) {
    const deck = await startDeck()
    try {
      if (wanted('power')) print(await powerRows(deck, libvirt, scratch))
      if (wanted('proxy')) print(await proxyRows(deck, ensurePeer('websockify'), scratch))
    } finally {
      await deck.stop()
    }
  }
  if (wanted('images')) {
    const deck = await startDeck()
    try {
      print(await imageRows(deck, libvirt, join(scratch, 'images'), partsOf('images')))
    } finally {
      await deck.stop()
    }
  }
  if (wanted('fleet')) {
    const deck = await startDeck()
    try {
      const fleet = await makeFleet(deck, libvirt)
      print(await listRows(deck, libvirt))
      print(await eventRows(deck, libvirt, fleet))
      print(await cpuRows(deck, libvirt))
      print(await adoptRows(deck, fleet))
    } finally {
      await deck.stop()
    }
  }
  if (wanted('page')) {
    const withCockpit = libvirt !== null && ensurePeer('cockpit')
    print(await pageRows(withCockpit ? libvirt : null, join(scratch, 'cockpit')))
  }
} finally {
  await libvirt?.stop()
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`)
  rmSync(scratch, { recursive: true, force: true })
}
