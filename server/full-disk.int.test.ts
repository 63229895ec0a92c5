/** What is left of the dashboard when the disk of its data is full: everything but what must be written. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { send } from '#server/http/test-rig.ts'
import { dir, isRunning, ready, server, token } from '#server/testing/process-rig.ts'

const isRoot = process.getuid?.() === 0
let mounted: string | null = null

afterEach(() => {
  // Lazily, because the server's process is ended after this.
  if (mounted !== null) execFileSync('umount', ['-l', mounted])
  mounted = null
})

/** Fills the file system to its last block. @returns how to make room again */
function fill(root: string): () => void {
  const file = join(root, 'ballast')
  const fd = openSync(file, 'w')
  try {
    for (const bytes of [2 ** 20, 4096, 1]) {
      const block = Buffer.alloc(bytes)
      try {
        while (writeSync(fd, block) === bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' })
      }
    }
  } finally {
    closeSync(fd)
  }
  expect(statfsSync(root).bavail).toBe(0)
  return () => rmSync(file)
}

test.skipIf(!isRoot)(
  'a full disk refuses changes as no_space; looking, stopping and what comes after work (F26)',
  async () => {
    const root = join(dir, 'd')
    mkdirSync(root)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0711', 'tmpfs', root])
    mounted = root
    const headers = { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' }
    const first = server()
    let port = await ready(first)
    const ask = (method: string, path: string, body?: object) =>
      send(port, method, `/api/v1${path}`, { headers, body: body && JSON.stringify(body) })
    const created = await ask('POST', '/vms', {
      name: 'demo',
      memoryMiB: 64,
      firmware: 'bios',
      disks: [],
      accelerator: 'tcg',
    })
    expect(created.status, created.text).toBe(201)
    const vm = `/vms/${created.json.id}`
    const started = await ask('POST', `${vm}/start`)
    expect(started.status, started.text).toBe(200)
    const { pid } = started.json.live
    try {
      let makeRoom = fill(root)
      // Pages of the log that exist already take a few more changes; then there is an end.
      let description = ''
      let accepted = 0
      for (;;) {
        const next = `change ${accepted}`
        const changed = await ask('PATCH', vm, { description: next })
        if (changed.status !== 200) {
          expect(changed.status, changed.text).toBe(507)
          expect(changed.json.error).toMatchObject({ code: 'no_space', message: expect.stringContaining('full') })
          break
        }
        description = next
        accepted += 1
        expect(accepted).toBeLessThan(2000)
      }
      const refused = [
        await ask('POST', '/vms', { name: 'other', disks: [], firmware: 'bios' }),
        await ask('POST', '/users', { name: 'ben', password: 'correct horse battery', role: 'viewer' }),
        await ask('DELETE', `/vms/${created.json.id}`),
      ]
      expect(refused.map(({ status }) => status)).toEqual([507, 507, 409])

      const seen = await ask('GET', vm)
      expect(seen.json).toMatchObject({ state: 'running', spec: { description } })
      for (const path of ['/vms', '/host', '/images', '/activity', '/users', `${vm}/screenshot.png`]) {
        expect((await ask('GET', path)).status, path).toBe(200)
      }
      expect((await ask('POST', `${vm}/pause`)).json.state).toBe('paused')
      expect((await ask('POST', `${vm}/resume`)).json.state).toBe('running')
      const off = await ask('POST', `${vm}/poweroff`)
      expect(off.json, off.text).toMatchObject({ state: 'off', lastExit: { kind: 'operator', by: 'ann' } })
      expect(isRunning(pid)).toBe(false)

      makeRoom()
      expect((await ask('PATCH', vm, { description: 'after' })).status).toBe(200)
      const ben = { name: 'ben', password: 'correct horse battery', role: 'viewer' }
      expect((await ask('POST', '/users', ben)).status).toBe(201)
      const lines = (await ask('GET', '/activity?limit=200')).json.items.map(({ what }: { what: string }) => what)
      expect(lines, 'what happened while the disk was full is not lost').toContain('vmPoweroff')

      // Filled again, and the dashboard dies: one on a full disk says so in a line, and once there is room all is there.
      makeRoom = fill(root)
      first.child.kill('SIGKILL')
      await first.ended
      const cramped = server()
      expect(await cramped.ended).toBe(1)
      expect(cramped.err().trim().split('\n').at(-1)).toMatch(/^guestdeck: The disk of .* is full .*Make room/)
      makeRoom()
      port = await ready(server())
      expect((await ask('GET', vm)).json).toMatchObject({ state: 'off', spec: { description: 'after' } })
      expect((await ask('GET', '/users')).json.items).toHaveLength(2)
    } finally {
      if (isRunning(pid)) process.kill(pid, 'SIGKILL')
    }
  },
)
