/**
 * A clock for session lifetimes that a wrong wall clock cannot move.
 *
 * Within one boot of the host it follows the kernel's uptime (which also counts suspend), across restarts of the
 * dashboard too: setting the date by a day signs nobody out and keeps nobody in. Only over a reboot it has to trust
 * the wall clock for the time the host was off, and then never runs backwards.
 */
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import type { Store } from '#server/store/types.ts'

const KEY = 'steady-clock'
const SAVE_EVERY_MS = 3_600_000

interface Anchor {
  readonly v: 1
  readonly bootId: string
  readonly uptimeMs: number
  readonly steadyMs: number
  readonly wallMs: number
}

export interface ClockSources {
  readonly bootId: string
  uptimeMs(): number
  wallMs(): number
}

function hostSources(): ClockSources {
  let bootId = 'unknown'
  try {
    bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // Without it every restart counts as a reboot, which only means trusting the wall clock more often.
  }
  return { bootId, uptimeMs: () => uptime() * 1000, wallMs: () => Date.now() }
}

export interface SteadyClock {
  /** Milliseconds since some point in the past; never decreases. */
  now(): number
}

export function createSteadyClock(store: Store, sources: ClockSources = hostSources()): SteadyClock {
  const anchorAt = (steadyMs: number): Anchor => ({
    v: 1,
    bootId: sources.bootId,
    uptimeMs: sources.uptimeMs(),
    steadyMs,
    wallMs: sources.wallMs(),
  })
  /** A disk that is full costs precision after the next reboot, never anybody's request now. */
  const save = (anchor: Anchor): void => {
    try {
      store.put('meta', KEY, anchor)
    } catch {
      // Saved again with the next anchor.
    }
  }
  const found = store.get<Anchor>('meta', KEY)?.value
  let anchor: Anchor
  if (!found) {
    anchor = anchorAt(0)
    save(anchor)
  } else if (found.bootId === sources.bootId && found.bootId !== 'unknown') {
    anchor = found
  } else {
    anchor = anchorAt(found.steadyMs + Math.max(0, sources.wallMs() - found.wallMs))
    save(anchor)
  }
  return {
    now() {
      const elapsed = Math.max(0, sources.uptimeMs() - anchor.uptimeMs)
      const steadyMs = anchor.steadyMs + elapsed
      if (elapsed > SAVE_EVERY_MS) {
        anchor = anchorAt(steadyMs)
        save(anchor)
      }
      return steadyMs
    },
  }
}
