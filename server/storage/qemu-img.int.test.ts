/** qemu-img as the engine calls it: in its sandbox, with the formats said. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createQemuImg, type QemuImg } from './qemu-img.ts'
import { createToolSandbox, type ToolSandbox } from './sandbox.ts'

const dir = mkdtempSync(join(tmpdir(), 'gd-qi-'))
const file = (name: string) => join(dir, name)
let sandbox: ToolSandbox
let qemuImg: QemuImg
beforeAll(async () => {
  sandbox = await createToolSandbox()
  qemuImg = createQemuImg(sandbox)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const outside = (path: string) =>
  JSON.parse(execFileSync('qemu-img', ['info', '-U', '--output=json', '-f', 'qcow2', path], { encoding: 'utf8' }))

describe('what it makes', () => {
  it('a blank disk has the size asked for and takes next to no room', async () => {
    await qemuImg.createBlank(file('blank.qcow2'), 5 * 2 ** 30)
    expect(outside(file('blank.qcow2'))).toMatchObject({ format: 'qcow2', 'virtual-size': 5 * 2 ** 30 })
    expect(statSync(file('blank.qcow2')).blocks * 512).toBeLessThan(2 ** 20)
  })
  it('an overlay names its base and format, and the base is not even opened', async () => {
    await qemuImg.createOverlay(file('over.qcow2'), { path: '/nowhere/base.img', format: 'raw' }, 2 ** 30)
    const header = readFileSync(file('over.qcow2'))
    expect(header.includes('/nowhere/base.img')).toBe(true)
    expect(header.readBigUInt64BE(24)).toBe(BigInt(2 ** 30))
  })
  it('UEFI variables are copied bit for bit', async () => {
    writeFileSync(file('vars.fd'), Buffer.alloc(540_672, 'vars'))
    await qemuImg.convertToQcow2(file('vars.fd'), 'raw', file('vars.qcow2'))
    execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', file('vars.fd'), file('vars.qcow2')])
  })
  it('a raw file with a qcow2 header inside stays raw: nothing is probed', async () => {
    execFileSync('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-b',
      '/etc/passwd',
      '-F',
      'raw',
      file('evil'),
      '1G',
    ])
    const info = await qemuImg.info(file('evil'), 'raw')
    expect(info).toMatchObject({
      format: 'raw',
      backingFile: null,
      virtualSizeBytes: Math.ceil(statSync(file('evil')).size / 512) * 512,
    })
  })
})

describe('what it cannot do', () => {
  it('names that are options or protocols never reach it', async () => {
    for (const name of ['-help', 'json:{}', 'nbd://127.0.0.1:1', 'relative.qcow2']) {
      await expect(qemuImg.createBlank(name, 512)).rejects.toThrow('absolute')
    }
  })
  it('a failure carries no path to the caller and leaves the reason in the cause', async () => {
    const failure = await qemuImg.convertToQcow2('/nowhere/vars.fd', 'raw', file('no.qcow2')).catch((e: unknown) => e)
    expect(failure).toMatchObject({ code: 'internal' })
    expect((failure as Error).message).not.toContain('/nowhere')
  })
  it('it sees neither the network nor files it was not given', async () => {
    if (sandbox.level !== 'full') return
    let connections = 0
    const server = createServer(() => connections++)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    writeFileSync(file('secret'), 'secret')
    chmodSync(file('secret'), 0o644)
    const sh = (script: string, readable: string[] = []) =>
      sandbox.run({
        program: '/usr/bin/bash',
        args: ['-c', script],
        readable,
        writable: [],
        timeoutMs: 10_000,
        maxFileBytes: null,
      })
    expect((await sh(`echo >/dev/tcp/127.0.0.1/${port}`)).exitCode).not.toBe(0)
    expect(connections).toBe(0)
    expect((await sh(`cat ${file('secret')}`)).exitCode).not.toBe(0)
    expect((await sh(`cat ${file('secret')}`, [file('secret')])).stdout).toBe('secret')
    expect((await sh(`echo x > ${file('secret')}`, [file('secret')])).exitCode).not.toBe(0)
    expect((await sh('cat /etc/shadow')).exitCode).not.toBe(0)
    expect((await sh('env')).stdout).not.toContain('HOME')
    server.close()
  })
  it('it is stopped by a signal and by its deadline, and nothing of it stays', async () => {
    const endless = { program: '/usr/bin/sleep', args: ['61'], readable: [], writable: [], maxFileBytes: null }
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 100)
    await expect(sandbox.run({ ...endless, timeoutMs: 30_000, signal: controller.signal })).rejects.toThrow()
    expect((await sandbox.run({ ...endless, timeoutMs: 200 })).signal).toBe('SIGKILL')
    const left = () =>
      readdirSync('/proc')
        .filter((pid) => /^\d+$/.test(pid))
        .filter((pid) => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === '/usr/bin/sleep\x0061\0'
          } catch {
            return false
          }
        })
    // The kernel ends the inner process when its parent's death is noticed: soon, not at once.
    await vi.waitFor(() => expect(left()).toEqual([]), 2000)
  })
})
