/** Commands of the build host, with an error that says what to install. */
import { spawn } from 'node:child_process'

export interface RunOptions {
  readonly cwd?: string
  readonly timeoutMs?: number
}

/**
 * @returns stdout
 * @throws Error with the end of stderr when the command is missing, fails, or takes longer than `timeoutMs` (120 s)
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(options.cwd !== undefined && { cwd: options.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 120_000,
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.once('error', (error) => {
      reject(new Error(`Cannot run ${command}: ${error.message}. Run \`npm test\` once: it installs what is missing.`))
    })
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(stdout)
      reject(new Error(`${command} ${args.join(' ')} ended with ${code ?? signal}:\n${stderr.slice(-2000)}`))
    })
  })
}
