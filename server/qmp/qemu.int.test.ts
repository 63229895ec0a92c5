/** The client against real QEMU without a machine. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connectQmp } from './client.ts'
import { QmpCommandError, QmpDisconnectedError, QmpGreetingError } from './errors.ts'

let dir: string
let path: string
let qemu: ChildProcess
let exited: Promise<number | null>

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gdq-'))
  path = join(dir, 'qmp.sock')
  qemu = spawn(
    'qemu-system-x86_64',
    [
      '-machine',
      'none',
      '-accel',
      'tcg',
      '-S',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-qmp',
      `unix:${path},server=on,wait=off`,
    ],
    { stdio: 'ignore' },
  )
  exited = new Promise((resolve) => {
    qemu.once('exit', resolve)
  })
})

afterEach(async () => {
  qemu.kill('SIGKILL')
  await exited
  rmSync(dir, { recursive: true, force: true })
})

test('a QEMU that is just starting is reached, asked and ended', async () => {
  const client = await connectQmp(path, { waitForSocket: true })
  expect(client.version.major).toBeGreaterThanOrEqual(7)
  expect(await client.execute('query-status')).toMatchObject({ status: 'prelaunch', running: false })
  expect((await client.execute('query-qmp-schema')).length).toBeGreaterThan(800)
  const shutdown = client.events(['SHUTDOWN'])
  await client.execute('quit')
  expect((await shutdown.next()).value?.data).toMatchObject({ reason: 'host-qmp-quit' })
  expect(await exited).toBe(0)
  expect(await client.whenClosed).toBeInstanceOf(QmpDisconnectedError)
})

test('QEMU’s refusals come with its class and words', async () => {
  const client = await connectQmp(path, { waitForSocket: true })
  await expect(client.execute('no-such-command')).rejects.toMatchObject({ class: 'CommandNotFound' })
  await expect(client.execute('query-status', { x: 1 } as never)).rejects.toThrow(/Parameter 'x' is unexpected/)
  await expect(client.execute('qom-get', { path: '/nowhere', property: 'x' })).rejects.toThrow(QmpCommandError)
  client.close()
})

test('a second client of one monitor is told that it may be taken', async () => {
  const first = await connectQmp(path, { waitForSocket: true })
  await expect(connectQmp(path, { timeoutMs: 150 })).rejects.toThrow(QmpGreetingError)
  expect(await first.execute('query-status')).toMatchObject({ status: 'prelaunch' })
  first.close()
})

test('a QEMU that is killed rejects what waits', async () => {
  const client = await connectQmp(path, { waitForSocket: true })
  qemu.kill('SIGSTOP')
  const waiting = client.execute('query-status')
  qemu.kill('SIGKILL')
  await expect(waiting).rejects.toThrow(QmpDisconnectedError)
})
