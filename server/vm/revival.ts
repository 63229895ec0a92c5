/**
 * Taking hold of a guest's monitor again: after adoption, after its connection was lost, after it fell silent. Belongs
 * to the VM's actor, which alone changes the model.
 */
import { within } from '#server/platform/clock.ts'
import { isAlive } from '#server/platform/process.ts'
import type { Guest } from './guest.ts'
import { HostFault } from './helpers/fault.ts'
import { setUpGuest } from './helpers/guest-setup.ts'

/** How long a monitor may take to answer a new connection. Milliseconds. */
export const RECONNECT_MS = 2000
const REVIVE_MS = 2000
/** The process's end may be known a moment after that of its monitor. Milliseconds. */
const EXIT_FOLLOWS_MS = 100

export interface RevivalHost {
  /** The guest that is held; null: none, or no longer wanted. */
  guest(): Guest | null
  /** The connection is a new one. */
  onReconnected(guest: Guest): void
  onAnswer(runState: string): void
  onSilent(error: unknown): void
  warn(message: string, error: unknown): void
}

/** After a (re)connection: the truth by query, the console, and a guest that was never let go. @throws QmpError */
export async function takeHold(guest: Guest, warn: RevivalHost['warn']): Promise<void> {
  await guest.resync()
  if (guest.hasSerial) await within(guest.openSerial(), RECONNECT_MS, undefined)
  if (guest.runState !== 'prelaunch') return
  // The dashboard went away between the spawn and the guest's first instruction: finish what was asked for.
  await setUpGuest(guest).catch((error: unknown) => {
    if (!(error instanceof HostFault)) throw error
    warn('its start was cut short and could not be finished whole', error)
  })
  await Promise.all([guest.ask('cont'), guest.readRunState()])
}

export class Revival {
  readonly #host: RevivalHost
  #timer: NodeJS.Timeout | undefined
  #over = false

  constructor(host: RevivalHost) {
    this.#host = host
  }

  /** The monitor's connection ended: because the process did, or else it is taken up again. */
  async monitorLost(): Promise<void> {
    const guest = this.#host.guest()
    if (!guest) return
    const ended = guest.process.exited.then(() => true)
    if (!(await within(ended, EXIT_FOLLOWS_MS, false))) await this.#try()
  }

  later(): void {
    clearTimeout(this.#timer)
    if (!this.#over) this.#timer = setTimeout(() => void this.#try(), REVIVE_MS).unref()
  }

  /** Nothing is left to revive, for now. */
  cancel(): void {
    clearTimeout(this.#timer)
  }

  /** For good. */
  close(): void {
    this.#over = true
    this.cancel()
  }

  /** Again and again, until it answers or is gone. */
  async #try(): Promise<void> {
    const guest = this.#host.guest()
    if (!guest || !isAlive(guest.process.identity)) return
    try {
      if (guest.qmp) {
        await guest.readRunState()
      } else {
        await guest.reconnect(RECONNECT_MS)
        await takeHold(guest, this.#host.warn)
        this.#host.onReconnected(guest)
      }
    } catch (error) {
      if (this.#host.guest() !== guest) return
      this.#host.onSilent(error)
      this.later()
      return
    }
    if (this.#host.guest() === guest) this.#host.onAnswer(guest.runState)
  }
}
