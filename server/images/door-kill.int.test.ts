/** `kill -9` in the middle of a conversion: no writer goes on, nothing half-done is ever shown (F06, F07). */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { dir, ready, server, token } from '#server/testing/process-rig.ts'
import { forgeL2Bomb } from './testing/bomb.ts'

/** Processes of ours that convert below this test's directory. */
const converters = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return (
          line.includes('convert') && line.includes(dir) && !/ [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
        )
      } catch {
        return false
      }
    })
    .map(Number)

it('a converter dies with the dashboard and nothing of it is shown afterwards; when it dies alone, only the upload fails (F06, F07)', {
  timeout: 120_000,
}, async () => {
  const secret = await token()
  // Grows for long enough to be caught in the act.
  const image = join(dir, 'bomb')
  forgeL2Bomb(image, join(dir, 'seed'), 8)
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/octet-stream' }
  const upload = (port: number) =>
    fetch(`http://127.0.0.1:${port}/api/v1/images/upload?name=x.qcow2`, {
      method: 'POST',
      headers,
      body: readFileSync(image),
    })
  const first = server()
  const port = await ready(first)
  const lost = upload(port).catch(() => null)
  await vi.waitFor(() => expect(converters().length).toBeGreaterThan(0), { timeout: 30_000, interval: 5 })
  first.child.kill('SIGKILL')
  await first.ended
  await lost
  await vi.waitFor(() => expect(converters()).toEqual([]), { timeout: 10_000, interval: 50 })

  const second = server()
  const again = await ready(second)
  const list = await fetch(`http://127.0.0.1:${again}/api/v1/images`, {
    headers: { authorization: headers.authorization },
  })
  expect(await list.json()).toEqual({ items: [] })
  expect(readdirSync(join(dir, 'd', 'uploads'))).toEqual([])
  expect(readdirSync(join(dir, 'd', 'images'))).toEqual([])
  // The converter alone is killed: the upload fails, the dashboard goes on.
  const refused = upload(again)
  await vi.waitFor(() => expect(converters().length).toBeGreaterThan(0), { timeout: 30_000, interval: 5 })
  for (const pid of converters()) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Its wrapper was in the list as well and took it along.
    }
  }
  const answer = await refused
  expect(answer.status).toBe(422)
  await answer.text()
  expect(readdirSync(join(dir, 'd', 'uploads'))).toEqual([])
  expect(readdirSync(join(dir, 'd', 'images'))).toEqual([])
})
