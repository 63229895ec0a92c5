import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { captureOutput, findExecutable, spawnWithSocket } from './child.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gdp-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('finding a program', () => {
  test('takes absolute paths and names in PATH, only when executable, never relative', () => {
    const path = join(dir, 'tool')
    writeFileSync(path, '#!/bin/sh\n')
    expect(findExecutable(path)).toBeNull()
    chmodSync(path, 0o755)
    expect(findExecutable(path)).toBe(path)
    expect(findExecutable('tool', dir)).toBe(path)
    expect(findExecutable('tool', '.')).toBeNull()
    expect(findExecutable('./tool', dir)).toBeNull()
    expect(findExecutable(dir)).toBeNull()
    expect(findExecutable('sh', '')).toMatch(/\/sh$/)
  })
})

describe('a child with a socket', () => {
  const shell = findExecutable('sh') ?? ''

  test('talks over descriptor 3 and has no new privileges', async () => {
    const child = await spawnWithSocket(shell, [
      '-c',
      'read line <&3; grep NoNewPrivs /proc/self/status >&3; echo "$line" >&3',
    ])
    let text = ''
    child.socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    child.socket.write('hello\n')
    expect((await child.exited).code).toBe(0)
    await new Promise((resolve) => (child.socket.readableEnded ? resolve(null) : child.socket.once('end', resolve)))
    expect(text).toBe('NoNewPrivs:\t1\nhello\n')
    child.socket.destroy()
  })

  test('keeps the end of what it wrote to stderr', async () => {
    const child = await spawnWithSocket(shell, [
      '-c',
      'i=0; while [ $i -lt 3000 ]; do echo "line $i" >&2; i=$((i+1)); done; exit 3',
    ])
    expect(await child.exited).toEqual({ code: 3, signal: null })
    child.socket.destroy()
    expect(child.stderr().length).toBeLessThanOrEqual(16 * 1024)
    expect(child.stderr()).toContain('line 2999')
  })

  test.skipIf(process.getuid?.() !== 0)('runs as the user given, without capabilities', async () => {
    const script = 'id -u >&2; id -G >&2; grep -E "Cap(Eff|Bnd)" /proc/self/status >&2'
    const child = await spawnWithSocket(shell, ['-c', script], { user: { uid: 65_534, gid: 65_534, groups: [110] } })
    await child.exited
    child.socket.destroy()
    expect(child.stderr()).toBe('65534\n65534 110\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n')
  })
})

describe('captured output', () => {
  test('comes with the exit status, cut at its limit', async () => {
    const output = await captureOutput('/bin/sh', ['-c', 'yes | head -c 200000; echo oops >&2; exit 4'], {
      timeoutMs: 5000,
    })
    expect(output).toMatchObject({ code: 4, signal: null, stderr: 'oops\n' })
    expect(output?.stdout.length).toBe(64 * 1024)
  })

  test('of a program that hangs ends at the deadline', async () => {
    const started = performance.now()
    expect(await captureOutput('/bin/sleep', ['30'], { timeoutMs: 50 })).toMatchObject({ signal: 'SIGKILL' })
    expect(performance.now() - started).toBeLessThan(2000)
  })

  test('of a program that is not there is null', async () => {
    expect(await captureOutput(join(dir, 'nothing'), [], { timeoutMs: 1000 })).toBeNull()
  })
})
