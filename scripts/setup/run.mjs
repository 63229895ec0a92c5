/** Child processes of set-up: captured, shown, or put in place of set-up itself. */
import { spawn, spawnSync } from 'node:child_process'
import { constants } from 'node:os'
import { watchNpm } from './ancestors.mjs'

/**
 * Runs a command to its end with its output captured.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ code: number, output: string }>} `code` 127 when the command could not be started
 */
export function capture(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const take = (chunk) => {
      output += chunk
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.once('error', (error) => resolve({ code: 127, output: error.message }))
    child.once('close', (code, signal) => resolve({ code: exitCode(code, signal), output }))
  })
}

/**
 * Runs a command with this terminal and reports how it ended. SIGINT, SIGTERM and SIGHUP sent to us reach it; when
 * the npm that runs us is killed, it is ended.
 *
 * On a terminal, Ctrl-C already goes to the whole foreground group: forwarding it as well would look like an
 * impatient second Ctrl-C to a server that is closing in order.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ code: number | null, signal: NodeJS.Signals | null }>}
 */
export function runInPlace(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: 'inherit' })
    const forward = (signal) => {
      if (signal === 'SIGINT' && process.stdin.isTTY) return
      child.kill(signal)
    }
    const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])
    for (const signal of signals) process.on(signal, forward)
    watchNpm(() => child.kill('SIGTERM'))
    const release = () => {
      for (const signal of signals) process.off(signal, forward)
    }
    child.once('error', (error) => {
      release()
      reject(error)
    })
    child.once('close', (code, signal) => {
      release()
      resolve({ code, signal })
    })
  })
}

/** @param {number | null} code @param {NodeJS.Signals | null} signal @returns {number} the shell's convention */
export function exitCode(code, signal) {
  return code ?? 128 + (signal ? (constants.signals[signal] ?? 0) : 0)
}

/** @param {string} command @param {string[]} args @returns {boolean} whether it ran and succeeded */
export function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}
