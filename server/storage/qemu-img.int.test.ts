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
  it('a raw file with a qcow2 header inside stays raw: nothing is probed (I10)', async () => {
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
  it('names that are options or protocols never reach it (I16)', async () => {
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

describe('snapshots inside a file, and layers', () => {
  const TAG = 'gd-01890000-0000-7000-8000-000000000001'
  const OTHER = 'gd-01890000-0000-7000-8000-000000000002'
  const io = (path: string, ...commands: string[]) =>
    execFileSync('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path], {
      encoding: 'utf8',
    })
  const holds = (path: string, pattern: number) =>
    !/Pattern verification failed/.test(io(path, `read -P ${pattern} 0 1M`))

  it('are taken, gone back to and deleted by their exact tag, and the file below is not opened (I15)', async () => {
    await qemuImg.createOverlay(file('in.qcow2'), { path: '/nowhere/base.img', format: 'raw' }, 2 ** 24)
    const bare = `json:${JSON.stringify({ driver: 'qcow2', backing: null, file: { driver: 'file', filename: file('in.qcow2') } })}`
    execFileSync('qemu-io', ['-c', 'write -P 1 0 1M', bare])
    await qemuImg.snapshot('create', file('in.qcow2'), TAG)
    execFileSync('qemu-io', ['-c', 'write -P 2 0 1M', bare])
    await qemuImg.snapshot('create', file('in.qcow2'), OTHER)
    expect(await qemuImg.tags(file('in.qcow2'))).toEqual([TAG, OTHER])
    // As a backup leaves it: what it counts is no longer so afterwards, and QEMU would refuse.
    execFileSync('qemu-img', ['bitmap', '--add', '-f', 'qcow2', file('in.qcow2'), 'gd-since-a-backup'])
    await qemuImg.snapshot('apply', file('in.qcow2'), TAG)
    expect(execFileSync('qemu-io', ['-c', 'read -P 1 0 1M', bare], { encoding: 'utf8' })).not.toMatch(/failed/)
    await qemuImg.snapshot('delete', file('in.qcow2'), TAG)
    expect(await qemuImg.tags(file('in.qcow2'))).toEqual([OTHER])
    expect(readFileSync(file('in.qcow2')).includes('/nowhere/base.img')).toBe(true)
  })

  it('tags that are not ours are never passed on: qemu-img takes a number for an id (I15)', async () => {
    for (const tag of ['1', 'before', '-l', `${TAG}\n`])
      await expect(qemuImg.snapshot('delete', file('in.qcow2'), tag)).rejects.toThrow(/not a tag/)
  })

  it('a layer merged into the one below leaves every byte, and a name in its header is not followed', async () => {
    await qemuImg.createBlank(file('low.qcow2'), 2 ** 24)
    io(file('low.qcow2'), 'write -P 7 0 2M')
    const lying = { path: '/etc/passwd', format: 'raw' as const }
    await qemuImg.createOverlay(file('high.qcow2'), lying, 2 ** 24)
    const bare = `json:${JSON.stringify({ driver: 'qcow2', backing: null, file: { driver: 'file', filename: file('high.qcow2') } })}`
    execFileSync('qemu-io', ['-c', 'write -P 9 0 1M', bare])
    await qemuImg.commit([
      { path: file('high.qcow2'), format: 'qcow2' },
      { path: file('low.qcow2'), format: 'qcow2' },
    ])
    expect(holds(file('low.qcow2'), 9)).toBe(true)
    expect(io(file('low.qcow2'), 'read -P 7 1M 1M')).not.toMatch(/failed/)
    await qemuImg.renameBacking(file('high.qcow2'), { path: file('low.qcow2'), format: 'qcow2' })
    expect(outside(file('high.qcow2'))['backing-filename']).toBe(file('low.qcow2'))
  })

  it.runIf(process.getuid?.() === 0)('what belongs to a guest is worked on as that guest', async () => {
    chmodSync(dir, 0o711)
    await qemuImg.createBlank(file('theirs.qcow2'), 2 ** 24)
    execFileSync('chown', ['71234:71234', file('theirs.qcow2')])
    chmodSync(file('theirs.qcow2'), 0o600)
    await qemuImg.snapshot('create', file('theirs.qcow2'), TAG, { user: { uid: 71234, readersGid: null } })
    expect(statSync(file('theirs.qcow2')).uid).toBe(71234)
    expect(await qemuImg.tags(file('theirs.qcow2'), { user: { uid: 71234, readersGid: null } })).toEqual([TAG])
  })
})
