/**
 * The power goes right after an answer. The data directory is a file system of its own on a loop device, whose file has
 * only what was sent to the device: a copy of that file is the disk of a machine without power. What was written and
 * not synchronised is not in it, which a file of the test's own shows each time.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { Job } from '#lib/schema/job.ts'
import { send } from '#server/http/test-rig.ts'
import { dir, ready, server, token } from '#server/testing/process-rig.ts'

let mounted: string | null = null
afterEach(() => {
  // Lazily: the dashboard is ended after this.
  if (mounted !== null) execFileSync('umount', ['-l', mounted])
  mounted = null
})

const canMount = process.getuid?.() === 0 && existsSync('/dev/loop-control')
/** Nothing is committed by time alone while the test runs. */
function mount(file: string, at: string): void {
  mkdirSync(at, { recursive: true })
  execFileSync('mount', ['-o', 'loop,commit=600', file, at])
  mounted = at
  rmSync(join(at, 'lost+found'), { recursive: true, force: true })
}

test.skipIf(!canMount)(
  'what was acknowledged is there and whole after the power was cut: definitions, changes, images, snapshots, clones, deletions (F13)',
  async () => {
    const disk = join(dir, 'disk')
    writeFileSync(disk, '')
    // Room beyond what stays free for guests; next to nothing of it is taken.
    execFileSync('truncate', ['-s', '16G', disk])
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-N', '4096', disk])
    const root = join(dir, 'd')
    mount(disk, root)
    execFileSync('chmod', ['711', root])
    const headers = { authorization: `Bearer ${await token()}` }
    const first = server()
    let port = await ready(first)
    const ask = async (method: string, path: string, body?: object) => {
      const answer = await send(port, method, `/api/v1${path}`, {
        headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
        body: body && JSON.stringify(body),
      })
      expect(answer.status, answer.text).toBeLessThan(300)
      return answer.json
    }
    const done = async (method: string, path: string, body: object): Promise<string> => {
      const job: Job = await ask('GET', `/jobs/${(await ask(method, path, body)).id}?wait=60`)
      expect(job, JSON.stringify(job.error)).toMatchObject({ state: 'done' })
      return job.result ?? ''
    }
    const cuts: string[] = []
    /** The disk as it is now, without what was not synchronised. */
    const cut = (): string => {
      const to = join(dir, `cut-${cuts.length}`)
      first.child.kill('SIGSTOP')
      writeFileSync(join(root, basename(to)), 'not synchronised')
      execFileSync('cp', ['--sparse=always', disk, to])
      first.child.kill('SIGCONT')
      cuts.push(to)
      return to
    }

    const kept = await ask('POST', '/vms', { name: 'kept', firmware: 'bios', disks: [{ device: 'disk', sizeGiB: 1 }] })
    const created = cut()
    await ask('PATCH', `/vms/${kept.id}`, { description: 'changed' })
    const image = Buffer.alloc(2 ** 20, 7)
    image.write('U\xaa', 510, 'latin1')
    const uploaded = await send(port, 'POST', '/api/v1/images/upload?name=small.img', {
      headers: { ...headers, 'content-type': 'application/octet-stream' },
      body: image,
    })
    expect(uploaded.status, uploaded.text).toBe(201)
    const changed = cut()
    await done('POST', `/vms/${kept.id}/snapshots`, { name: 'before', kind: 'disk' })
    const cloned = await done('POST', `/vms/${kept.id}/clones`, { kind: 'linked', name: 'second' })
    const derived = cut()
    await ask('DELETE', `/vms/${cloned}?disks=delete`)
    const deleted = cut()
    first.child.kill('SIGKILL')
    await first.ended

    /** A machine that starts from that disk. */
    const after = async (file: string, look: () => Promise<void>) => {
      execFileSync('umount', [root])
      mounted = null
      mount(file, root)
      expect(existsSync(join(root, basename(file))), 'the power took nothing').toBe(false)
      const again = server()
      port = await ready(again)
      await look()
      again.child.kill('SIGKILL')
      await again.ended
    }
    const whole = (id: string) => {
      const file = join(root, 'vms', id, `${kept.spec.disks[0].id}.qcow2`)
      execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', file])
    }
    await after(created, async () => {
      expect((await ask('GET', `/vms/${kept.id}`)).spec.name).toBe('kept')
      whole(kept.id)
    })
    await after(changed, async () => {
      expect((await ask('GET', `/vms/${kept.id}`)).spec.description).toBe('changed')
      const { id, sizeBytes } = uploaded.json
      expect((await ask('GET', `/images/${id}`)).present).toBe(true)
      expect(statSync(join(root, 'images', id)).size).toBe(sizeBytes)
    })
    await after(derived, async () => {
      expect((await ask('GET', `/vms/${kept.id}/snapshots`)).items).toMatchObject([
        { name: 'before', state: 'complete' },
      ])
      expect((await ask('GET', `/vms/${cloned}`)).spec.name).toBe('second')
      whole(cloned)
      expect((await ask('POST', `/vms/${cloned}/start`)).state).toBe('running')
      await ask('POST', `/vms/${cloned}/poweroff`)
    })
    await after(deleted, async () => {
      expect((await ask('GET', '/vms')).items.map(({ id }: { id: string }) => id)).toEqual([kept.id])
      expect(existsSync(join(root, 'vms', cloned))).toBe(false)
    })
  },
)
