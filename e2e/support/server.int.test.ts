import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processesUsing } from './leftovers.ts'
import { Dashboard } from './server.ts'

const START_MS = 30_000

let dashboard: Dashboard
let cookie: string
beforeEach(async () => {
  cookie = ''
  dashboard = await Dashboard.start({ apiOnly: true })
  const answer = await call('POST', '/setup', {
    code: dashboard.setupCode,
    name: 'admin',
    password: 'correct horse battery',
  })
  cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? ''
})
afterEach(() => dashboard.dispose())

async function call(method: string, path: string, body?: object): Promise<Response> {
  const answer = await fetch(`${dashboard.url}/api/v1${path}`, {
    method,
    headers: {
      origin: dashboard.url,
      ...(cookie && { cookie }),
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}\n${dashboard.log}`)
  return answer
}

async function stateOf(id: string): Promise<string> {
  return (await (await call('GET', `/vms/${id}`)).json()).state
}

async function runningVm(): Promise<string> {
  const { id } = await (await call('POST', '/vms', { name: 'demo', memoryMiB: 64, cpus: 1, disks: [] })).json()
  await call('POST', `/vms/${id}/start`)
  const deadline = Date.now() + START_MS
  while ((await stateOf(id)) !== 'running') {
    if (Date.now() > deadline) throw new Error(`not running: ${await stateOf(id)}\n${dashboard.log}`)
    await sleep(100)
  }
  return id
}

describe('a dashboard that was killed', () => {
  it('finds its guest running when it starts again, and the guest noticed nothing', async () => {
    const id = await runningVm()
    const pid = dashboard.guestPid(id)
    expect(pid).not.toBeNull()

    await dashboard.kill9()
    expect(dashboard.guestPid(id)).toBe(pid)

    await dashboard.launch()
    expect(await stateOf(id)).toBe('running')
    expect(dashboard.guestPid(id)).toBe(pid)
    expect(processesUsing(dashboard.runDir)).toHaveLength(1)
  })
})

describe('the dashboard of a test', () => {
  it('leaves neither guests nor files behind', async () => {
    const id = await runningVm()
    const { runDir, dataDir } = dashboard
    expect(dashboard.guestPid(id)).not.toBeNull()
    await dashboard.dispose()
    expect(processesUsing(runDir)).toEqual([])
    expect(existsSync(runDir)).toBe(false)
    expect(existsSync(dataDir)).toBe(false)
  })
})
