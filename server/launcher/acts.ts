/** Who does the acts of root for this process. There is one, as a process has one user. */
import { inProcessActs } from './in-process.ts'
import type { RootActs } from './verbs.ts'

let acts: RootActs | null = null

/** This process itself, until a launcher was named. */
export function rootActs(): RootActs {
  acts ??= inProcessActs()
  return acts
}

/** From now on they are asked for: this process is about to give up root. */
export function askActsOf(launcher: RootActs): void {
  acts = launcher
}
