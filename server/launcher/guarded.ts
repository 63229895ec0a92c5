/**
 * The verbs as a process does them that stays root for one that is not, and that may have been taken over: beyond the
 * form of a request, it looks by itself at whose the thing is that is asked about (decision 0018).
 */
import { statSync } from 'node:fs'
import { sep } from 'node:path'
import * as z from 'zod'
import { findExecutable } from '#server/platform/child.ts'
import { readUid } from '#server/platform/process.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { inProcessActs } from './in-process.ts'
import type { Shape } from './shapes.ts'
import type { RootActs } from './verbs.ts'

/** What was settled while everything was root's still; nothing of it can be changed later. */
export const LauncherSettings = z.strictObject({
  dataDir: z.string(),
  runDir: z.string(),
  /** `GUESTDECK_POOL_DIRS`. */
  poolDirs: z.array(z.string()),
  /** The operator's own certificate. */
  certificate: z.strictObject({ cert: z.string(), key: z.string() }).nullable(),
  /** Directory of the guests' control groups; null: there are none. */
  groups: z.string().nullable(),
})
export type LauncherSettings = z.output<typeof LauncherSettings>

/** The request is none the dashboard makes. */
export class RefusedAct extends Error {
  override readonly name = 'RefusedAct'
}

const refuse = (why: string): never => {
  throw new RefusedAct(`The launcher refuses: ${why}.`)
}

const KVM = '/dev/kvm'
const VM_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Sign-ins by PAM that are let through in a minute, right or wrong. */
const PAM_PER_MINUTE = 120

/** As setpriv reads it, to which any other word would be a name. */
const idOf = (text = ''): number => (/^\d{1,10}$/.test(text) ? Number(text) : Number.NaN)

const isBelow = (path: string, root: string) => path.startsWith(root.endsWith(sep) ? root : root + sep)

/** Group of /dev/kvm, as `vm` gives it to guests; never root's. */
function kvmGid(): number | null {
  const gid = statSync(KVM, { throwIfNoEntry: false })?.gid ?? 0
  return gid === 0 ? null : gid
}

/** @throws Error when there is no room for users of guests: then nobody asks for a launcher */
export function guardedActs(settings: LauncherSettings): RootActs {
  const identity = guestIdentity(true)
  const { readersGid, dashboardGid } = identity
  if (readersGid === null || dashboardGid === null) throw new Error('Guests have no users of their own here.')
  const acts = inProcessActs({
    dashboard: { uid: dashboardGid, gid: dashboardGid },
    owners: [readersGid, dashboardGid],
  })
  const isGroupOfGuests = (gid: number) => gid === readersGid || gid === kvmGid() || identity.isLayerGroup(gid)

  const checkShape = (as: Shape): void => {
    // The first id of the range is nobody's; a pool is tried with it.
    if ('uid' in as && as.uid !== readersGid && !identity.isGuest(as.uid)) refuse('that is no guest’s user')
    const isOfLayer = as.kind === 'readers-file' && identity.isLayerGroup(as.readersGid)
    if ('readersGid' in as && as.readersGid !== readersGid && !isOfLayer)
      refuse('that is not the group of those who read')
    if (as.kind === 'readers-file' && as.holder !== null && !identity.isGuest(as.holder))
      refuse('that is no guest’s user')
  }
  const checkPlace = (path: string): void => {
    if (!settings.poolDirs.some((root) => path === root || isBelow(path, root)))
      refuse('that is no directory of the dashboard’s')
  }
  const checkGuest = (pid: number): void => {
    const uid = readUid(pid)
    if (uid !== null && !identity.isGuest(uid)) refuse('that process is no guest’s')
  }
  /** What runs afterwards is nobody but that guest, so it does not matter what it is. */
  const checkWrapper = (argv: readonly string[]): void => {
    const [program, ...words] = argv
    if (program === undefined || program !== findExecutable('setpriv')) refuse('it would start as root')
    const end = words.indexOf('--')
    const given = new Map<string, string>()
    for (const word of words.slice(0, Math.max(end, 0))) {
      const [name = '', value = ''] = word.split('=', 2)
      if (given.has(name)) refuse('an option is given twice')
      given.set(name, value)
    }
    const uid = idOf(given.get('--reuid'))
    const gid = idOf(given.get('--regid'))
    const groups = given.get('--groups')?.split(',').map(idOf)
    const isWhole =
      identity.isGuest(uid) &&
      (gid === uid || gid === readersGid) &&
      (groups === undefined ? given.has('--clear-groups') : groups.every(isGroupOfGuests)) &&
      given.has('--no-new-privs') &&
      given.get('--bounding-set') === '-all' &&
      given.get('--inh-caps') === '-all'
    const isKnown = [...given.keys()].every((name) =>
      ['--reuid', '--regid', '--groups', '--clear-groups', '--no-new-privs', '--bounding-set', '--inh-caps'].includes(
        name,
      ),
    )
    if (!isWhole || !isKnown) refuse('it would not start as a guest’s user without privileges')
  }

  let asked: number[] = []
  const countPam = (): void => {
    const now = performance.now()
    asked = asked.filter((at) => now - at < 60_000)
    if (asked.length >= PAM_PER_MINUTE) refuse('too many people sign in at once')
    asked.push(now)
  }

  return {
    async own(request) {
      checkShape(request.as)
      await acts.own(request)
    },
    async ownInPool(request, child) {
      checkShape(request.as)
      await acts.ownInPool(request, child)
    },
    async openPath(request) {
      // Opened before anything was given up.
      if (request.dir === settings.dataDir || request.dir === settings.runDir) return []
      checkPlace(request.dir)
      if (request.readersGid !== readersGid) refuse('that is not the group of those who read')
      return await acts.openPath(request)
    },
    async openPool(request, child) {
      checkPlace(request.path)
      await acts.openPool(request, child)
    },
    async launch(request) {
      checkWrapper(request.argv)
      return await acts.launch(request)
    },
    async signal(request) {
      checkGuest(request.pid)
      return await acts.signal(request)
    },
    async pin(request) {
      checkGuest(request.pid)
      return await acts.pin(request)
    },
    async makeTap(request) {
      const { user } = request
      if (user === null || !identity.isGuest(user.uid)) refuse('that is no guest’s user')
      await acts.makeTap(request)
    },
    removeTap: (request) => acts.removeTap(request),
    limitTap: (request) => acts.limitTap(request),
    makeVirtiofsdLocks: () => acts.makeVirtiofsdLocks(),
    removeVirtiofsdLock: (request) => acts.removeVirtiofsdLock(request),
    async enclose(request) {
      const name = request.dir.split(sep).at(-1) ?? ''
      if (settings.groups === null || request.dir !== `${settings.groups}/${name}` || !VM_ID.test(name))
        refuse('that is no control group of a guest’s')
      checkGuest(request.pid)
      await acts.enclose(request)
    },
    async readCertificate(request) {
      const { certificate } = settings
      if (certificate?.cert !== request.cert || certificate.key !== request.key) refuse('that is not the certificate')
      return await acts.readCertificate(request)
    },
    async canGuestsRead(request) {
      if (request.readersGid !== readersGid) refuse('that is not the group of those who read')
      return await acts.canGuestsRead(request)
    },
    async authenticate(request) {
      countPam()
      return await acts.authenticate(request)
    },
  }
}

/** @throws Error when they are not what `startLauncher` writes */
export const readSettings = (text: string): LauncherSettings => LauncherSettings.parse(JSON.parse(text))
