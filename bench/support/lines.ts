/** A child process that answers one JSON line per command line: the viewers and the libvirt connection. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { endOf } from './libvirt.ts'

export interface LineProcess {
  readonly pid: number
  ask<T>(command: string): Promise<T>
  end(): Promise<void>
}

/** Resolves once the process has printed its first line. @throws Error when it ends before that */
export async function startLineProcess(file: string, args: readonly string[]): Promise<LineProcess> {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const read = async () => {
    const line = await lines.next()
    if (line.done) throw new Error(`${args.join(' ')} ended`)
    return line.value
  }
  await read()
  return {
    pid: child.pid ?? 0,
    ask: async <T>(command: string) => {
      child.stdin.write(`${command}\n`)
      return JSON.parse(await read()) as T
    },
    end: async () => {
      child.stdin.end()
      await endOf(child)
    },
  }
}
