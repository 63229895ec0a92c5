/**
 * Who is at which console, who has control, and telling them. One room for each VM; within it control is a matter of
 * each kind of console (`floor.ts`).
 */
import { CLOSE } from '#lib/console/close-codes.ts'
import {
  type ConsoleKind,
  type ConsoleNews,
  type ConsoleViewer,
  ConsoleWish,
  type RecordingMark,
} from '#lib/schema/console.ts'
import { createFloor, type Floor, type Participant } from './floor.ts'
import {
  type ConsoleRooms,
  type ConsoleSession,
  type ControlChange,
  type ControlGate,
  NOBODY,
  type VmPresence,
} from './types.ts'
import type { Viewer } from './viewer.ts'

/** A wish is a word or two and an id. */
const WISH_MAX_BYTES = 512
/** People press buttons: what comes faster is no person. */
const WISHES_AT_ONCE = 20
const WISHES_PER_SECOND = 5

export interface RoomEntry {
  readonly session: ConsoleSession
  readonly viewer: Viewer
  readonly gate: ControlGate
}

interface Member extends RoomEntry {
  readonly participant: Participant
  readonly listeners: ((isOpen: boolean) => void)[]
  wasOpen: boolean
  /** Wishes it may still make at once, and when that was counted. */
  allowance: number
  countedMs: number
}

interface Room {
  readonly members: Set<Member>
  readonly floors: Readonly<Record<ConsoleKind, Floor>>
  recordings: readonly RecordingMark[]
  presence: VmPresence | null
  /** Told everybody in a moment. */
  announced: boolean
}

export interface RoomOptions {
  readonly onPresence: (vmId: string) => void
  readonly onControl: (change: ControlChange) => void
}

export interface Rooms extends ConsoleRooms {
  enter(session: ConsoleSession, viewer: Viewer): RoomEntry
  /** Everybody connected, also those whose connection is just being closed. */
  all(): Iterable<RoomEntry>
  readonly size: number
  count(vmId: string, kind: ConsoleKind): number
}

export function createRooms({ onPresence, onControl }: RoomOptions): Rooms {
  const rooms = new Map<string, Room>()
  const entries = new Set<Member>()

  const roomOf = (vmId: string): Room => {
    let room = rooms.get(vmId)
    if (room === undefined) {
      const floors = { vnc: createFloor(), serial: createFloor() }
      room = { members: new Set(), floors, recordings: [], presence: null, announced: false }
      rooms.set(vmId, room)
    }
    return room
  }
  const forgetEmpty = (vmId: string, room: Room) => {
    if (room.members.size === 0 && room.recordings.length === 0) rooms.delete(vmId)
  }

  const viewerOf = (room: Room, { session }: Member): ConsoleViewer => {
    const { grant } = session
    const floor = room.floors[grant.kind]
    const asked = floor.askedAtMs(session.id)
    return {
      // Made by the engine when it gave the ticket.
      id: session.id as ConsoleViewer['id'],
      name: grant.userName,
      guest: grant.guest !== null,
      kind: grant.kind,
      mode: grant.mode,
      since: session.openedAt.toISOString(),
      holds: floor.holder === session.id,
      asksSince: asked === null ? null : new Date(asked).toISOString(),
    }
  }
  const presenceOf = (room: Room): VmPresence => {
    room.presence ??= {
      viewers: [...room.members].map((member) => viewerOf(room, member)),
      recordings: room.recordings,
    }
    return room.presence
  }

  /** What changed counts at once; that it did is told once for everything that happened in one turn. */
  const changed = (vmId: string, room: Room): void => {
    room.presence = null
    for (const member of room.members) {
      const { isOpen } = member.gate
      if (isOpen === member.wasOpen) continue
      member.wasOpen = isOpen
      for (const listener of member.listeners) listener(isOpen)
    }
    if (room.announced) return
    room.announced = true
    queueMicrotask(() => {
      room.announced = false
      onPresence(vmId)
      const { viewers, recordings } = presenceOf(room)
      for (const { session, viewer, participant } of room.members) {
        if (!session.grant.presence) continue
        const news: ConsoleNews = {
          type: 'presence',
          you: session.id,
          manages: participant.manages,
          viewers,
          recordings,
        }
        viewer.sendNews(JSON.stringify(news))
      }
    })
  }

  const finder = (room: Room, kind: ConsoleKind) => (id: string) =>
    [...room.members].find(({ session }) => session.id === id && session.grant.kind === kind)?.participant ?? null

  const act = (
    vmId: string,
    room: Room,
    kind: ConsoleKind,
    wish: ConsoleWish,
    by: Participant,
    who: ControlChange['by'],
  ) => {
    const floor = room.floors[kind]
    const find = finder(room, kind)
    const before = [floor.holder, floor.askedAtMs(by.id), 'to' in wish ? floor.askedAtMs(wish.to) : null]
    const refused = floor.apply(wish, by, find, Date.now())
    if (refused !== null) return refused
    const after = [floor.holder, floor.askedAtMs(by.id), 'to' in wish ? floor.askedAtMs(wish.to) : null]
    if (before.every((value, index) => value === after[index])) return null
    if (wish.do !== 'withdraw') {
      onControl({ vmId, kind, what: wish.do, by: who, to: 'to' in wish ? (find(wish.to)?.name ?? null) : null })
    }
    changed(vmId, room)
    return null
  }

  const count = (vmId: string, kind: ConsoleKind): number => {
    let n = 0
    for (const { session } of rooms.get(vmId)?.members ?? []) if (session.grant.kind === kind) n++
    return n
  }

  const takeWish = (vmId: string, room: Room, member: Member, text: Buffer): void => {
    const { viewer, session, participant } = member
    const nowMs = performance.now()
    member.allowance = Math.min(
      WISHES_AT_ONCE,
      member.allowance + ((nowMs - member.countedMs) / 1000) * WISHES_PER_SECOND,
    )
    member.countedMs = nowMs
    if (member.allowance < 1) {
      viewer.close(CLOSE.policy, 'too many messages')
      return
    }
    member.allowance -= 1
    const wish = text.length > WISH_MAX_BYTES ? null : wishOf(text.toString('utf8'))
    if (wish === null) {
      viewer.close(CLOSE.unsupported, 'this message is not understood')
      return
    }
    const { guest, userName, userId } = session.grant
    const who =
      guest === null
        ? { name: userName, userId, from: session.from }
        : { name: `guest: ${userName}`, userId: guest.byUserId, from: session.from }
    const refused = act(vmId, room, session.grant.kind, wish, participant, who)
    if (refused !== null) {
      const news: ConsoleNews = { type: 'refused', message: refused }
      viewer.sendText(JSON.stringify(news))
    }
  }

  return {
    enter(session, viewer) {
      const { grant } = session
      const { vmId } = grant
      const room = roomOf(vmId)
      const floor = room.floors[grant.kind]
      const participant: Participant = {
        id: session.id,
        name: grant.userName,
        mayControl: grant.mode === 'control',
        manages: grant.manages,
      }
      const listeners: Member['listeners'] = []
      const member: Member = {
        session,
        viewer,
        participant,
        listeners,
        gate: {
          get isOpen() {
            return floor.mayType(participant)
          },
          onChange: (listener) => void listeners.push(listener),
        },
        wasOpen: floor.mayType(participant),
        allowance: WISHES_AT_ONCE,
        countedMs: performance.now(),
      }
      room.members.add(member)
      entries.add(member)
      if (grant.presence) viewer.onText = (text) => takeWish(vmId, room, member, text)
      viewer.onClosing(() => {
        room.members.delete(member)
        floor.leave(session.id)
        changed(vmId, room)
        forgetEmpty(vmId, room)
      })
      viewer.onEnd(() => entries.delete(member))
      changed(vmId, room)
      return member
    },
    all: () => [...entries],
    get size() {
      return entries.size
    },
    count,
    viewers: (vmId) => ({ vnc: count(vmId, 'vnc'), serial: count(vmId, 'serial') }),
    presence(vmId) {
      const room = rooms.get(vmId)
      return room === undefined ? NOBODY : presenceOf(room)
    },
    watching: (vmId) => [...(rooms.get(vmId)?.members ?? [])].map(({ session }) => session),
    guests(linkId) {
      let n = 0
      for (const { session, viewer } of entries) {
        if (viewer.closeCode === null && session.grant.guest?.linkId === linkId) n++
      }
      return n
    },
    end(vmId, viewerId, reason) {
      const member = [...(rooms.get(vmId)?.members ?? [])].find(({ session }) => session.id === viewerId)
      member?.viewer.close(CLOSE.disconnected, reason)
      return member !== undefined
    },
    give(vmId, kind, viewerId, { id, name }) {
      const room = rooms.get(vmId)
      if (room === undefined) return viewerId === null ? null : 'They have left this console.'
      const by: Participant = { id: '', name, mayControl: false, manages: true }
      const wish: ConsoleWish =
        viewerId === null ? { do: 'release' } : { do: 'give', to: viewerId as ConsoleViewer['id'] }
      return act(vmId, room, kind, wish, by, { name, userId: id, from: '' })
    },
    setRecordings(vmId, marks) {
      const room = roomOf(vmId)
      room.recordings = marks
      changed(vmId, room)
      forgetEmpty(vmId, room)
    },
  }
}

/** Null: it is none. */
function wishOf(text: string): ConsoleWish | null {
  try {
    return ConsoleWish.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}
