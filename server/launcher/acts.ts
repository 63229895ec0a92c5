/** Who does the acts of root for this process. There is one, as a process has one user. */
import { inProcessActs } from './in-process.ts'
import type { RootActs } from './verbs.ts'

const acts = inProcessActs()

export const rootActs = (): RootActs => acts
