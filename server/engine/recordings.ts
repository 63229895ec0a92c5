/**
 * Recordings of consoles: who may begin and end them, that everybody at the console knows, how much room they take, and what
 * the rules to always record begin by themselves.
 *
 *   asked or by rule ─▶ marked (everybody sees it) ─▶ recorder runs ─▶ ended: document settled, mark gone
 *
 * The mark stands before the first byte is written. A recording begun by rule is followed by the next when it is long or
 * large enough; one by a person is not.
 */
import { randomUUIDv7 } from 'node:crypto'
import { mayOn } from '#lib/auth/privileges.ts'
import type { ConsoleKind, RecordingMark } from '#lib/schema/console.ts'
import type { Recording, RecordingRule, RecordingSettings } from '#lib/schema/recording.ts'
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import { allowedAction } from '#lib/vm/actions.ts'
import { recordScreen } from '#server/console/recording/record-screen.ts'
import { recordSerial } from '#server/console/recording/record-serial.ts'
import type { RecordingEnd, RunningRecording } from '#server/console/recording/types.ts'
import type { ConsoleRooms, ConsoleSources } from '#server/console/types.ts'
import type { LabClock } from '#server/lab/time.ts'
import type { SpaceLedger, SpaceReservation } from '#server/storage/space.ts'
import type { VmRuntime } from '#server/vm/types.ts'
import { LOOK_ONLY, requireVm } from './access.ts'
import { EngineError } from './errors.ts'
import type { Journal } from './journal.ts'
import type { RecordingDocument, RecordingShelf } from './recording-shelf.ts'
import type { Caller, RecordingEngine } from './types.ts'
import type { VmRecord, VmRecords } from './vm-records.ts'

export interface RecordingDeps {
  readonly shelf: RecordingShelf
  readonly records: VmRecords
  readonly rooms: Pick<ConsoleRooms, 'setRecordings'>
  readonly sources: ConsoleSources
  readonly runtime: (vmId: string) => VmRuntime
  readonly journal: Journal
  /** Decides when they are deleted. */
  readonly clock: LabClock
  readonly space: () => SpaceLedger
  /** Counts so many more GiB for who pays for the VM, until released. @throws EngineError quota_exceeded */
  readonly hold: (record: VmRecord, gib: number) => () => void
  readonly warn: (message: string, error?: unknown) => void
}

export interface Recordings {
  readonly engine: RecordingEngine
  /** @returns sentences for the log */
  open(): Promise<string[]>
  /** From now on what rules say is recorded. Only once the consoles can tell their viewers. */
  followRules(): void
  /** Deletes what was kept long enough and begins what rules say; comes round by itself every minute. */
  tick(): Promise<void>
  runtimeChanged(vmId: string, runtime: VmRuntime): void
  /** The VM is deleted: its recordings go with it. */
  forgetVm(vmId: string): void
  /** Of each VM, for quotas. */
  totals(): Iterable<{ readonly vmId: string; readonly sizeBytes: number }>
  /** Ends all that run. */
  close(): Promise<void>
}

const KINDS: readonly ConsoleKind[] = ['vnc', 'serial']
const CONSOLE = { vnc: 'screen', serial: 'serial console' } as const
const MIB = 2 ** 20
const GIB = 2 ** 30
/** Below this a recording is not worth beginning. */
const LEAST_BYTES = MIB
const TICK_MS = 60_000
const hasConsole = ({ display, serial }: Pick<VmSpec, 'display' | 'serial'>, kind: ConsoleKind) =>
  kind === 'vnc' ? display !== 'none' : serial
const BY_RULE = 'the rule to always record'

interface Active {
  readonly id: string
  readonly vmId: string
  readonly kind: ConsoleKind
  readonly always: boolean
  readonly mark: RecordingMark
  /** Null while it is being begun. */
  running: RunningRecording | null
  /** So much it may come to; 0 until its room is promised. */
  maxBytes: number
  /** Settled: document written, mark gone, room given back. */
  readonly over: Promise<void>
}

export function createRecordings(deps: RecordingDeps): Recordings {
  const { shelf, records, rooms, sources, journal, clock, warn } = deps
  const nowAt = () => new Date(clock.wallMs()).toISOString()
  const active = new Map<string, Active>()
  /** Rules that could not be followed, told once each. */
  const toldOf = new Set<string>()
  let closing = false
  /** Rules are followed: everybody who must hear of it is there. */
  let isFollowing = false

  const keyOf = (vmId: string, kind: ConsoleKind) => `${vmId}/${kind}`
  const activeOf = (id: string) => [...active.values()].find((entry) => entry.id === id) ?? null
  const activeIn = (vmId: string) => [...active.values()].filter((entry) => entry.vmId === vmId)
  const showMarks = (vmId: string): void =>
    rooms.setRecordings(
      vmId,
      activeIn(vmId).map(({ mark }) => mark),
    )
  const note = (
    what: string,
    record: VmRecord,
    text: string,
    result: 'ok' | 'info' | 'failed',
    caller: Caller | null,
  ): void =>
    journal.write({
      ...{ what, text, result, caller, topic: 'vm' },
      ...{ objectId: record.id, objectName: record.spec.name, ownerId: record.ownerId },
    })

  /** Room for one more recording of the VM. @throws EngineError quota_exceeded, no_space */
  const makeRoom = async (record: VmRecord, entry: Active) => {
    const { maxMiB, vmMaxMiB } = shelf.settings()
    const wanted = maxMiB * MIB
    if (entry.always) {
      // Rules go on for ever; their oldest give way. What people recorded stays.
      const oldest = shelf.ofVm(record.id).filter((document) => document.always && document.endedAt !== null)
      while (shelf.bytesOf(record.id) + wanted > vmMaxMiB * MIB) {
        const document = oldest.pop()
        if (document === undefined) break
        await shelf.remove(document)
        note(
          'recordingDelete',
          record,
          `The recording of ${record.spec.name} of ${document.startedAt} gave way to a newer one.`,
          'info',
          null,
        )
      }
    }
    // Two at once must not come to more than both may.
    const used = shelf.bytesOf(record.id) + activeIn(record.id).reduce((sum, { maxBytes }) => sum + maxBytes, 0)
    const maxBytes = Math.min(wanted, vmMaxMiB * MIB - used)
    if (maxBytes < LEAST_BYTES) {
      throw new EngineError(
        'quota_exceeded',
        `The recordings of this VM take all of the ${vmMaxMiB} MiB they may take. Delete some first.`,
      )
    }
    const release = deps.hold(record, Math.floor((used + maxBytes) / GIB) - Math.floor(used / GIB))
    entry.maxBytes = maxBytes
    try {
      const reservation = await deps.space().reserve(maxBytes, 'The recording')
      return { maxBytes, reservation, release }
    } catch (error) {
      release()
      throw error
    }
  }
  const openRecorder = async (
    document: RecordingDocument,
    record: VmRecord,
    maxBytes: number,
    reservation: SpaceReservation,
  ): Promise<RunningRecording> => {
    const { id, kind, vmId, by, startedAt } = document
    const path = await shelf.place({ id, kind, vmId })
    const limits = { maxBytes, maxMs: shelf.settings().maxMinutes * 60_000 }
    const onGrown = (bytes: number) => reservation.consume(bytes)
    if (kind === 'vnc') {
      const socketPath = sources.vncSocket(vmId)
      if (socketPath === null) throw new EngineError('wrong_state', 'The guest is off.')
      const about = { vm: { id: vmId, name: record.spec.name }, by, startedAt }
      return await recordScreen({ socketPath, path, about, limits, onGrown })
    }
    const hub = sources.serialHub(vmId)
    if (hub === null) throw new EngineError('wrong_state', 'The guest is off.')
    return await recordSerial({ hub, path, title: record.spec.name, limits, onGrown })
  }

  /** @throws EngineError conflict, wrong_state, quota_exceeded, no_space, internal */
  const begin = async (
    record: VmRecord,
    kind: ConsoleKind,
    by: string,
    always: boolean,
  ): Promise<RecordingDocument> => {
    const key = keyOf(record.id, kind)
    const id = randomUUIDv7()
    const startedAt = nowAt()
    const over = Promise.withResolvers<void>()
    const entry: Active = {
      ...{ id, kind, always, vmId: record.id, running: null, maxBytes: 0, over: over.promise },
      mark: { id, kind, by, since: startedAt },
    }
    if (closing) throw new EngineError('busy', 'The dashboard is stopping.')
    if (active.has(key)) throw new EngineError('conflict', `The ${CONSOLE[kind]} is being recorded already.`)
    // From here on everybody sees it.
    active.set(key, entry)
    const undo: (() => void)[] = [
      () => {
        active.delete(key)
        showMarks(record.id)
        over.resolve()
      },
    ]
    const giveUp = () => {
      for (const step of undo.toReversed()) step()
    }
    try {
      const { maxBytes, reservation, release } = await makeRoom(record, entry)
      undo.push(() => {
        reservation.release()
        release()
      })
      showMarks(record.id)
      const document: RecordingDocument = {
        ...{ v: 1, id, vmId: record.id, kind, by, always, startedAt, endedAt: null, endedSteadyMs: null },
        ...{ durationMs: 0, sizeBytes: 0, state: 'recording', reason: null },
      }
      shelf.put(document)
      let recorder: RunningRecording
      try {
        recorder = await openRecorder(document, record, maxBytes, reservation)
      } catch (error) {
        await shelf.remove(document)
        throw error
      }
      entry.running = recorder
      void recorder.ended.then((end) => {
        settle(entry, document, end)
        giveUp()
        if (end.kind === 'limit' && always) follow(record.id)
      })
      // The rule may have been ended while this was beginning.
      if (always && !ruleOf(record.id)[kind]) void recorder.stop('The rule was ended.')
      return document
    } catch (error) {
      giveUp()
      if (error instanceof EngineError) throw error
      throw new EngineError('internal', `The ${CONSOLE[kind]} could not be recorded.`, { cause: error })
    }
  }

  const settle = (entry: Active, document: RecordingDocument, end: RecordingEnd): void => {
    const { kind, reason, durationMs, sizeBytes } = end
    const record = records.get(entry.vmId)
    // Deleted meanwhile, with all its files.
    if (record === null || shelf.get(entry.id) === null) return
    const settled: RecordingDocument = {
      ...{ ...document, durationMs, sizeBytes, reason, endedAt: nowAt(), endedSteadyMs: clock.steadyMs() },
      state: 'complete',
    }
    try {
      shelf.put(settled)
    } catch (error) {
      // The disk is full, and that is what ended it; the next start settles it.
      warn(`The end of the recording ${entry.id} could not be stored.`, error)
    }
    note(
      'recordingEnd',
      record,
      `The recording of the ${CONSOLE[entry.kind]} of ${record.spec.name} ended: ${reason}`,
      kind === 'failed' ? 'failed' : 'info',
      null,
    )
  }

  const ruleOf = (vmId: string): RecordingRule => {
    const own = shelf.rule(vmId)
    const { always } = shelf.settings()
    return { vnc: own.vnc || always.vnc, serial: own.serial || always.serial }
  }
  /** Begins what a rule says and does not run yet. */
  const follow = (vmId: string): void => {
    const record = records.get(vmId)
    if (record === null || closing || !isFollowing) return
    const { state, launchedSpec } = deps.runtime(vmId)
    if (!allowedAction(state, 'console').allowed) return
    const rule = ruleOf(vmId)
    for (const kind of KINDS) {
      const key = keyOf(vmId, kind)
      if (!rule[kind] || active.has(key) || !hasConsole(launchedSpec ?? record.spec, kind)) continue
      if ((kind === 'vnc' ? sources.vncSocket(vmId) : sources.serialHub(vmId)) === null) continue
      begin(record, kind, BY_RULE, true).then(
        () => {
          toldOf.delete(key)
          note(
            'recordingStart',
            record,
            `The ${CONSOLE[kind]} of ${record.spec.name} is recorded by ${BY_RULE}.`,
            'ok',
            null,
          )
        },
        (error: unknown) => {
          if (toldOf.has(key)) return
          toldOf.add(key)
          const why = error instanceof EngineError ? error.message : 'Something went wrong in the dashboard itself.'
          note(
            'recordingStart',
            record,
            `${record.spec.name} is not recorded although a rule says so: ${why}`,
            'failed',
            null,
          )
        },
      )
    }
  }
  const followAll = (): void => {
    for (const { id } of records.all()) follow(id)
  }
  const tick = async (): Promise<void> => {
    for (const document of shelf.expired({ steadyMs: clock.steadyMs(), wallMs: clock.wallMs() })) {
      await shelf.remove(document)
      const record = records.get(document.vmId)
      if (record !== null) {
        note(
          'recordingDelete',
          record,
          `The recording of ${record.spec.name} of ${document.startedAt} was deleted: it was kept as long as it should.`,
          'info',
          null,
        )
      }
    }
    followAll()
  }
  const timer = setInterval(() => {
    tick().catch((error: unknown) => warn('Looking after the recordings failed.', error))
  }, TICK_MS)
  timer.unref()

  const viewOf = (document: RecordingDocument): Recording => {
    const live = activeOf(document.id)?.running ?? null
    return shelf.view(
      document,
      document.endedAt !== null || live === null ? null : { durationMs: live.durationMs, sizeBytes: live.sizeBytes },
    )
  }
  const requireOne = (record: VmRecord, id: string): RecordingDocument => {
    const document = shelf.get(id)
    if (document === null || document.vmId !== record.id) {
      throw new EngineError('not_found', 'There is no such recording.')
    }
    return document
  }
  const assertMay = (caller: Caller, record: VmRecord, document: RecordingDocument | null): void => {
    if (!mayOn(caller, record, 'vm.console.record')) throw new EngineError('forbidden', LOOK_ONLY)
    if (document?.always === true && !mayOn(caller, record, 'recording.manage')) {
      throw new EngineError('forbidden', 'A rule began this recording; only an administrator may end or delete it.')
    }
  }

  const engine: RecordingEngine = {
    async list(caller, vmId) {
      const record = requireVm(records, caller, vmId)
      const items = shelf.ofVm(record.id).map(viewOf)
      const { vmMaxMiB, always } = shelf.settings()
      return {
        items,
        usedBytes: items.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        limitBytes: vmMaxMiB * MIB,
        rule: shelf.rule(record.id),
        hostRule: always,
      }
    },
    async view(caller, vmId, id) {
      return viewOf(requireOne(requireVm(records, caller, vmId), id))
    },
    async start(caller, vmId, { kind }) {
      const record = requireVm(records, caller, vmId)
      const done = `began to record the ${CONSOLE[kind]} of`
      return await journal.vmOperation('recordingStart', caller, record, done, async () => {
        assertMay(caller, record, null)
        const allowed = allowedAction(deps.runtime(record.id).state, 'console')
        if (!allowed.allowed) throw new EngineError('wrong_state', allowed.reason ?? 'The guest is off.')
        if (!hasConsole(record.spec, kind)) {
          throw new EngineError('conflict', `This VM has no ${CONSOLE[kind]}.`, { field: 'kind' })
        }
        return viewOf(await begin(record, kind, caller.name, false))
      })
    },
    async stop(caller, vmId, id) {
      const record = requireVm(records, caller, vmId)
      const document = requireOne(record, id)
      return await journal.vmOperation('recordingStop', caller, record, null, async () => {
        assertMay(caller, record, document)
        const entry = activeOf(id)
        if (entry === null) throw new EngineError('wrong_state', 'This recording has ended already.')
        if (entry.running === null) throw new EngineError('busy', 'This recording is only just beginning. Try again.')
        await entry.running.stop(`${caller.name} ended it.`)
        await entry.over
        return viewOf(requireOne(record, id))
      })
    },
    async content(caller, vmId, id, rangeOf, withBody) {
      const record = requireVm(records, caller, vmId)
      const document = requireOne(record, id)
      const sizeBytes = await shelf.sizeOnDisk(document)
      const range = rangeOf(sizeBytes)
      // Seeking is no line of its own.
      if (withBody && (range === null || range.from === 0)) {
        note(
          'recordingContent',
          record,
          `${caller.name} took the recording of the ${CONSOLE[document.kind]} of ${record.spec.name} of ${document.startedAt}.`,
          'ok',
          caller,
        )
      }
      const name = `${record.spec.name}-${document.startedAt.slice(0, 19).replaceAll(':', '-')}.${document.kind === 'vnc' ? 'gdscreen' : 'cast'}`
      // While it is written the file grows; what was announced is what is sent.
      const body = withBody && sizeBytes > 0 ? shelf.read(document, range ?? { from: 0, to: sizeBytes - 1 }) : null
      return { name, sizeBytes, range, body }
    },
    async delete(caller, vmId, id) {
      const record = requireVm(records, caller, vmId)
      const document = requireOne(record, id)
      await journal.vmOperation(
        'recordingDelete',
        caller,
        record,
        `deleted a recording (${document.startedAt}) of`,
        async () => {
          assertMay(caller, record, document)
          if (activeOf(id) !== null) throw new EngineError('wrong_state', 'It is being recorded. End it first.')
          await shelf.remove(document)
        },
      )
    },
    async setRule(caller, vmId, patch) {
      const record = requireVm(records, caller, vmId)
      return await journal.vmOperation(
        'recordingRuleSet',
        caller,
        record,
        'set what is always recorded of',
        async () => {
          if (!mayOn(caller, record, 'recording.manage')) throw new EngineError('forbidden', LOOK_ONLY)
          const rule: RecordingRule = { ...shelf.rule(record.id), ...(patch as Partial<RecordingRule>) }
          shelf.setRule(record.id, rule)
          await obey(record.id, caller)
          return rule
        },
      )
    },
    settings: async () => shelf.settings(),
    async updateSettings(caller, patch) {
      // Fields left out are undefined to the type alone.
      const settings = { ...shelf.settings(), ...patch } as RecordingSettings
      shelf.setSettings(settings)
      journal.write({
        ...{
          what: 'recordingSettingsUpdate',
          text: `${caller.name} changed the rules of recordings.`,
          result: 'ok',
          caller,
        },
      })
      for (const { id } of records.all()) await obey(id, caller)
      return settings
    },
  }
  /** What no rule asks for any more ends; what one asks for now begins. */
  const obey = async (vmId: string, { name }: Caller): Promise<void> => {
    const rule = ruleOf(vmId)
    const ends = activeIn(vmId).filter(({ kind, always }) => always && !rule[kind])
    // One that is only beginning ends by itself.
    await Promise.all(
      ends.map(({ running, over }) => running?.stop(`${name} ended the rule.`).then(() => over) ?? over),
    )
    follow(vmId)
  }

  return {
    engine,
    open: () => shelf.open(records.isStored),
    followRules() {
      isFollowing = true
      tick().catch((error: unknown) => warn('Looking after the recordings failed.', error))
    },
    tick,
    runtimeChanged(vmId, { state }) {
      if (allowedAction(state, 'console').allowed) follow(vmId)
    },
    forgetVm(vmId) {
      for (const { running } of activeIn(vmId)) void running?.stop('The VM was deleted.')
      shelf.forgetVm(vmId)
    },
    totals: () => shelf.totals(),
    async close() {
      closing = true
      clearInterval(timer)
      await Promise.all(
        [...active.values()].map(async ({ running, over }) => {
          await running?.stop('The dashboard stopped.')
          // One that is only being begun ends with its guest's connection, and is mended at the next start.
          if (running !== null) await over
        }),
      )
    },
  }
}
