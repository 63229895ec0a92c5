/**
 * npm runs a script through a shell, and the shell runs us: killed with SIGKILL, npm leaves both behind, and with us
 * a server that holds its port and its data. So we look whether npm is still there.
 */
import { readFileSync } from 'node:fs'

const LOOK_EVERY_MS = 500

/** @param {number} pid @returns {number | null} the parent of a process; null when it is gone */
export function parentOf(pid) {
  try {
    // The command's name in parentheses may hold anything: what counts comes after the last one (proc(5)).
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return null
  }
}

/**
 * Calls `onGone` once when the npm that runs this script has ended without telling us. Does nothing when no npm runs
 * it, and does not keep the process alive.
 * @param {() => void} onGone
 */
export function watchNpm(onGone) {
  const chain = npmChain()
  if (!chain) return
  const timer = setInterval(() => {
    if (chain.every(({ pid, parent }) => parentOf(pid) === parent)) return
    clearInterval(timer)
    onGone()
  }, LOOK_EVERY_MS)
  timer.unref()
}

/**
 * The links from us up to npm: through a shell, or none where the shell replaced itself by us (bash does). Who started
 * npm does not matter: that one may end before it.
 */
function npmChain() {
  if (process.env.npm_lifecycle_event === undefined) return null
  const chain = []
  for (let pid = process.pid; chain.length < 2; ) {
    const parent = parentOf(pid)
    if (parent === null || parent <= 1) return null
    chain.push({ pid, parent })
    if (isNpm(parent)) return chain
    pid = parent
  }
  return null
}

function isNpm(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('npm')
  } catch {
    return false
  }
}
