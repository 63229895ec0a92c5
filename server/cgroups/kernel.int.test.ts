/**
 * Control groups on a kernel that has them all, in a guest: the test machines' own may have none. The guest carries Node
 * and the sources as they are; what it measures is the kernel's work.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import * as z from 'zod'
import { ensureGuestKernel, KERNEL_COMMAND_LINE, READY_TEXT } from '#e2e/guests/build.ts'
import { type CpioEntry, writeCpio } from '#e2e/guests/cpio.ts'
import { PlainQemu } from '#e2e/guests/plain-qemu.ts'

const ROOT = join(import.meta.dirname, '../..')
const SOURCES = [
  ...['package.json', 'server/cgroups/groups.ts', 'server/cgroups/plan.ts', 'server/cgroups/testing/proof.ts'],
  ...['server/platform/clock.ts', 'server/platform/fs.ts', 'server/platform/privileges.ts'],
]
const TIMEOUT_MS = 240_000

const Proof = z.object({
  status: z.object({ state: z.string(), controllers: z.array(z.string()), detail: z.string() }),
  held: z.object({
    reason: z.null(),
    limits: z.array(z.object({ id: z.string(), holds: z.boolean(), reason: z.string().nullable() })),
  }),
  weighed: z.tuple([z.number(), z.number()]),
  reweighed: z.tuple([z.number(), z.number()]),
  ...{ together: z.number(), limitedShare: z.number() },
  ...{ cap: z.number(), peak: z.number().nullable(), hungryEnd: z.string().nullable(), oomKills: z.number() },
  ...{ otherLives: z.boolean(), most: z.number(), tasks: z.number(), refusals: z.number(), free: z.number() },
  left: z.array(z.number()),
  warnings: z.array(z.string()),
})

const jsName = (path: string) => path.replace(/\.ts$/, '.js')

/** As Node itself would take it, without its types: taking them off needs 15 seconds in the guest. */
function asJavaScript(path: string): Buffer {
  const text = readFileSync(join(ROOT, path), 'utf8')
  if (!path.endsWith('.ts')) return Buffer.from(text)
  return Buffer.from(stripTypeScriptTypes(text).replaceAll(/(from '[^']*)\.ts'/g, "$1.js'"))
}

let guest: PlainQemu | undefined
let scratch: string | undefined
afterEach(async () => {
  await guest?.stop()
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true })
})

/** The test guest's own files, and after them Node with its libraries and our sources: the kernel unpacks both. */
function initrdWithNode(base: string): string {
  scratch = mkdtempSync(join(tmpdir(), 'gd-cg-'))
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).match(/\/\S+/g) ?? []
  const entries: CpioEntry[] = [
    { path: 'deck/node', kind: 'file', bytes: readFileSync(process.execPath), mode: 0o755 },
    ...[...new Set(libraries)].map(
      (path): CpioEntry => ({ path: path.slice(1), kind: 'file', bytes: readFileSync(path), mode: 0o755 }),
    ),
    ...SOURCES.map((path): CpioEntry => ({ path: `deck/${jsName(path)}`, kind: 'file', bytes: asJavaScript(path) })),
  ]
  const first = readFileSync(base)
  const file = join(scratch, 'initrd')
  writeFileSync(file, Buffer.concat([first, Buffer.alloc(-first.length & 3), writeCpio(entries)]))
  return file
}

test(
  'on a real kernel weights share the processors, and limits of memory and processes hold inside their group alone',
  async () => {
    const { vmlinuz, initrd } = await ensureGuestKernel('cloud')
    guest = PlainQemu.start(
      ['-kernel', vmlinuz, '-initrd', initrdWithNode(initrd), '-append', KERNEL_COMMAND_LINE, '-no-reboot'],
      1024,
    )
    const serial = await guest.connect('ser')
    await serial.expect(new RegExp(READY_TEXT), TIMEOUT_MS)
    serial.send('mount -t cgroup2 none /sys/fs/cgroup && cd /deck && ./node server/cgroups/testing/proof.js\n')
    const [, line = ''] = await serial.expect(/PROOF (\{.*\})\r?\n/, TIMEOUT_MS)
    const proof = Proof.parse(JSON.parse(line))

    expect(proof.status).toMatchObject({ controllers: ['cpu', 'memory', 'pids', 'io'], state: 'ok' })
    const held = Object.fromEntries(proof.held.limits.map(({ id, holds }) => [id, holds]))
    expect(held).toMatchObject({ 'cpu-weight': true, 'cpu-limit': true, memory: true, processes: true })
    // Disks are shared by weight only where the kernel was built for it; it is said when not.
    for (const limit of proof.held.limits) if (!limit.holds) expect(limit.reason).toMatch(/neither io.cost nor BFQ/)

    // Four times the weight is four times the time, give or take the turns of a slow machine.
    expect(proof.weighed[1] / proof.weighed[0]).toBeGreaterThan(2.5)
    expect(proof.weighed[1] / proof.weighed[0]).toBeLessThan(6)
    expect(proof.reweighed[0] / proof.reweighed[1]).toBeGreaterThan(2.5)
    expect(proof.together, 'a shell and the loop it had started before').toBe(2)
    expect(proof.limitedShare).toBeGreaterThan(0.1)
    expect(proof.limitedShare).toBeLessThan(0.3)

    expect(proof).toMatchObject({ hungryEnd: 'SIGKILL', otherLives: true, free: 7, left: [], warnings: [] })
    expect(proof.oomKills).toBeGreaterThan(0)
    if (proof.peak !== null) expect(proof.peak).toBeLessThanOrEqual(proof.cap)
    expect(proof.tasks).toBeLessThanOrEqual(proof.most)
    expect(proof.refusals).toBeGreaterThan(0)
  },
  TIMEOUT_MS,
)
