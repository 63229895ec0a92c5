/**
 * For tests: ends another's process from within a dashboard that has given up root. Loaded while it still is root, and so
 * is the shell it leaves behind, which reads from a pipe for as long as the dashboard lives.
 */
import { execFileSync, spawn } from 'node:child_process'
import { openSync, readFileSync, rmSync, writeSync } from 'node:fs'

const pause = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

function isOver(pid: number, signal: 'SIGKILL' | 'SIGSTOP'): boolean {
  try {
    return new RegExp(`^\\d+ \\(.*\\) ${signal === 'SIGKILL' ? '[ZX]' : '[TZX]'}`, 's').test(
      readFileSync(`/proc/${pid}/stat`, 'latin1'),
    )
  } catch {
    return true
  }
}

/** @param name of a pipe that is made for it @returns a function that comes back when it is done */
export function createKiller(name: string): (pid: number, signal: 'SIGKILL' | 'SIGSTOP') => void {
  rmSync(name, { force: true })
  execFileSync('/usr/bin/mkfifo', ['-m', '600', name])
  const script = 'while read -r pid signal; do kill -s "$signal" "$pid"; done < "$1"'
  spawn('/bin/sh', ['-c', script, 'sh', name], { stdio: 'ignore', detached: true }).unref()
  const pipe = openSync(name, 'r+')
  return (pid, signal) => {
    if (pid === process.pid) return void process.kill(pid, signal)
    writeSync(pipe, `${pid} ${signal.slice(3)}\n`)
    for (let left = 5000; left > 0 && !isOver(pid, signal); left -= 2) pause(2)
  }
}
