/**
 * Accounts of the host, through PAM (`server/launcher/pam.ts`). Root itself is never let in.
 */
import type { HostSettings } from '#lib/schema/sign-in.ts'
import { UserName } from '#lib/schema/user.ts'
import { EngineError } from '#server/engine/errors.ts'
import { rootActs } from '#server/launcher/acts.ts'
import { captureOutput, findExecutable } from '#server/platform/child.ts'
import { startedAsRoot } from '#server/platform/privileges.ts'

const LOOK_MS = 3000
const AT_ONCE = 2
const QUEUE_MAX = 20

export interface HostPerson {
  readonly name: string
  readonly groups: readonly string[]
}

/** Why the host's accounts cannot be used; null where they can. */
export function hostAccountsUnavailable(): string | null {
  if (!startedAsRoot) return 'Only a dashboard that root has started can ask PAM.'
  return findExecutable('pamtester') === null ? 'The program pamtester is not installed.' : null
}

let running = 0
const waiting: (() => void)[] = []

async function queued<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) {
    if (waiting.length >= QUEUE_MAX) {
      throw new EngineError('busy', 'Too many people are signing in at this moment; try again in a few seconds.')
    }
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else {
    running += 1
  }
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next) next()
    else running -= 1
  }
}

/** Whatever an account is called: with the uid 0 it is root. @param text what `id -u` says */
export const isOrdinaryUid = (text: string): boolean => /^[1-9]\d*\n$/.test(text)

/** Null: no such person, root, or not their password. @throws EngineError sign_in_failed, busy */
export async function hostSignIn(settings: HostSettings, name: string, password: string): Promise<HostPerson | null> {
  const reason = hostAccountsUnavailable()
  if (reason !== null) throw new EngineError('sign_in_failed', reason)
  // A line break would be a second answer; a name that begins with a dash an option.
  if (!UserName.safeParse(name).success || password === '' || /[\0\n\r]/.test(password)) return null
  const uid = await captureOutput('/usr/bin/id', ['-u', '--', name], { timeoutMs: LOOK_MS })
  const right = await queued(() => rootActs().authenticate({ service: settings.service, name, password }))
  if (!right || uid?.code !== 0 || !isOrdinaryUid(uid.stdout)) return null
  const groups = await captureOutput('/usr/bin/id', ['-Gn', '--', name], { timeoutMs: LOOK_MS })
  if (groups?.code !== 0) return null
  return { name, groups: groups.stdout.trim().split(' ') }
}
