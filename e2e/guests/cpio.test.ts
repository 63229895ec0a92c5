import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeCpio } from './cpio.ts'

describe('a cpio archive', () => {
  const archive = writeCpio([
    { path: 'sbin/init', kind: 'file', bytes: Buffer.from('hello'), mode: 0o755 },
    { path: 'sbin/alias', kind: 'symlink', target: 'init' },
    { path: 'empty', kind: 'file', bytes: Buffer.alloc(0) },
  ])

  it('names every parent directory before what is in it', () => {
    const text = archive.toString('latin1')
    expect(text.startsWith('070701')).toBe(true)
    expect(text.indexOf('sbin\0')).toBeGreaterThan(0)
    expect(text.indexOf('sbin\0')).toBeLessThan(text.indexOf('sbin/init\0'))
    expect(archive.length % 4).toBe(0)
  })

  it.skipIf(spawnSync('busybox', ['cpio', '--help']).status !== 0)('is unpacked by a foreign cpio', () => {
    const dir = mkdtempSync(join(tmpdir(), 'cpio-'))
    try {
      const { status, stderr } = spawnSync('busybox', ['cpio', '-i'], { cwd: dir, input: archive })
      expect(stderr.toString()).not.toMatch(/error|short|unsupported/i)
      expect(status).toBe(0)
      expect(readFileSync(join(dir, 'sbin/init'), 'utf8')).toBe('hello')
      expect(statSync(join(dir, 'sbin/init')).mode & 0o777).toBe(0o755)
      expect(readlinkSync(join(dir, 'sbin/alias'))).toBe('init')
      expect(statSync(join(dir, 'empty')).size).toBe(0)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})
