/**
 * A dashboard that root has started, on its way to being none of root's: whether it can, what has to be done before, and what
 * the host page says of it. Wiring of `server/launcher`, which knows no configuration.
 */
import type { Server } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '#server/config.ts'
import { askActsOf, rootActs } from '#server/launcher/acts.ts'
import { dashboardIds, giveUpRoot, settleDirs, settleGroups, whyStayRoot } from '#server/launcher/give-up-root.ts'
import type { DataPaths } from '#server/paths.ts'
import { startedAsRoot } from '#server/platform/privileges.ts'
import type { GuestIdentity } from '#server/storage/identity.ts'

export interface Start {
  readonly config: Config
  readonly data: Pick<DataPaths, 'root'>
  readonly identity: GuestIdentity
  /** Directory of the dashboard's own program. */
  readonly program: string
  /** Directory of the guests' control groups. */
  readonly groups: string | null
  readonly log: Logger
  /** Takes a port that an ordinary user could not. */
  listen(host: string, port: number): Promise<Server>
}

export interface WithoutRoot {
  /** For the host page. */
  readonly summary: string
  /** Holds the port that was taken while it could be. */
  readonly early: Server | null
}

const FIRST_ORDINARY_PORT = 1024

/**
 * From here on without root, where that can be. What an earlier dashboard could have written to is opened after it alone: names
 * in there may lead anywhere, if somebody has taken that one over.
 */
export async function leaveRoot(start: Start): Promise<WithoutRoot> {
  const { config, data, identity, program, groups, log, listen } = start
  const stay = (reason: string) => ({ summary: ` The dashboard itself is root: ${reason}.`, early: null })
  if (!startedAsRoot) return { summary: '', early: null }
  if (config.launcher === 'off') return stay('GUESTDECK_LAUNCHER=off')
  if (config.dev) return stay('pages are rebuilt as they change')
  const ids = dashboardIds(identity)
  const files = [config.catalogueFile, config.acmeCaFile].filter((file) => file !== null)
  const reason = await whyStayRoot(ids, program, files)
  if (ids === null || reason !== null) return stay(reason ?? 'there is no user for it')
  const dirs = [data.root, config.runDir]
  for (const dir of dirs) {
    const notes = await rootActs().openPath({ dir, readersGid: ids.readersGid })
    for (const note of notes) log.info({}, note)
  }
  const unsettled = settleDirs(ids, dirs)
  if (unsettled !== null) return stay(unsettled)
  if (groups !== null) {
    try {
      settleGroups(groups, ids.id)
    } catch (error) {
      log.warn({ err: error }, 'the control groups of guests could not be handed over; their limits will not hold')
    }
  }
  const early = config.port > 0 && config.port < FIRST_ORDINARY_PORT ? await listen(config.host, config.port) : null
  const { runDir, poolDirs, tlsCert: cert, tlsKey: key } = config
  const launcher = giveUpRoot(ids, {
    ...{ dataDir: data.root, runDir, groups, poolDirs: [...poolDirs] },
    certificate: cert === null || key === null ? null : { cert, key },
  })
  askActsOf(launcher.acts)
  void launcher.ended.then(() => {
    log.fatal('the launcher has ended; guests keep running')
    process.exit(1)
  })
  log.info({ user: ids.id, launcher: launcher.pid }, 'gave up root; the launcher keeps it')
  return {
    summary: ` The dashboard runs as user ${ids.id} without any as well; a small launcher stays root for what has to be done as root.`,
    early,
  }
}
