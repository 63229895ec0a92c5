/**
 * For tests: what takes seconds to make and is the same for every test of a run is made by the first that needs it and
 * copied by the others. Gone after the run; made through the real programs.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { inject } from 'vitest'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** Directory of this run. */
    kept: string
  }
}

/** Vitest runs it once, before the first file (`globalSetup`). */
export default function setup(project: TestProject): () => void {
  const dir = mkdtempSync(join(tmpdir(), 'gd-kept-'))
  // A dashboard that has given up root loads parts of itself from there.
  chmodSync(dir, 0o711)
  project.provide('kept', dir)
  return () => rmSync(dir, { recursive: true, force: true })
}

/** Puts a kept file there. @returns whether there was one */
export function takeKept(name: string, to: string): boolean {
  const from = join(inject('kept'), name)
  if (!existsSync(from)) return false
  mkdirSync(dirname(to), { recursive: true, mode: 0o711 })
  // With owners and modes.
  execFileSync('cp', ['-a', '--', from, to])
  return true
}

/** Keeps a file or directory as it is now; of two at the same time, one. */
export function keep(name: string, from: string): void {
  const to = join(inject('kept'), name)
  if (existsSync(to) || !existsSync(from)) return
  const part = `${to}.${process.pid}`
  execFileSync('cp', ['-a', '--', from, part])
  try {
    renameSync(part, to)
  } catch {
    // The other was first.
    rmSync(part, { recursive: true, force: true })
  }
}

/** A directory of this run, made by the first who asks for it. @param make is handed its name until it is whole */
export function keptDirectory(name: string, make: (dir: string) => void): string {
  const to = join(inject('kept'), name)
  if (existsSync(to)) return to
  const part = `${to}.${process.pid}`
  make(part)
  try {
    renameSync(part, to)
  } catch {
    // The other was first.
    rmSync(part, { recursive: true, force: true })
  }
  return to
}
