/**
 * Whom a file or directory of ours may belong to: a closed list, so that whoever hands files over cannot ask for any owner
 * and mode that comes to mind. Pure.
 */
import * as z from 'zod'

/** Never root's. */
const Id = z.int().min(1).max(0xffff_fffe)

export const Shape = z.discriminatedUnion('kind', [
  /** Of the one guest that writes it, and by its group of the dashboard. */
  z.object({ kind: z.literal('guest-file'), uid: Id }),
  /** A directory in which the guest's programs make files; those get the directory's group. */
  z.object({ kind: z.literal('guest-dir'), uid: Id }),
  /** A directory the guest may pass through, and neither list nor change. */
  z.object({ kind: z.literal('guest-passage'), uid: Id }),
  /** For all guests to read, or those in a layer’s group. `holder`: a running guest that had it as its own, and opens it as such. */
  z.object({ kind: z.literal('readers-file'), readersGid: Id, holder: Id.nullable() }),
  /** For all guests to read and write. */
  z.object({ kind: z.literal('readers-shared'), readersGid: Id }),
  /** A directory all guests may pass through. */
  z.object({ kind: z.literal('readers-passage'), readersGid: Id }),
  /** The dashboard's own, private. */
  z.object({ kind: z.literal('dashboard-file') }),
  z.object({ kind: z.literal('dashboard-dir') }),
])
export type Shape = z.output<typeof Shape>

export interface Permissions {
  readonly uid: number
  readonly gid: number
  readonly mode: number
  readonly isDir: boolean
}

/** @param dashboard its user, and its group, in which no guest is */
export function permissionsOf(shape: Shape, dashboard: { readonly uid: number; readonly gid: number }): Permissions {
  const { uid, gid } = dashboard
  switch (shape.kind) {
    case 'guest-file':
      return { uid: shape.uid, gid, mode: 0o660, isDir: false }
    case 'guest-dir':
      return { uid: shape.uid, gid, mode: 0o2770, isDir: true }
    case 'guest-passage':
      // The dashboard's user makes files there, and so do its tools, which root's capabilities are taken from.
      return { uid, gid: shape.uid, mode: 0o710, isDir: true }
    case 'readers-file':
      return { uid: shape.holder ?? uid, gid: shape.readersGid, mode: 0o640, isDir: false }
    case 'readers-shared':
      return { uid, gid: shape.readersGid, mode: 0o660, isDir: false }
    case 'readers-passage':
      return { uid, gid: shape.readersGid, mode: 0o710, isDir: true }
    case 'dashboard-file':
      return { uid, gid, mode: 0o600, isDir: false }
    case 'dashboard-dir':
      return { uid, gid, mode: 0o700, isDir: true }
  }
}

/** @param uid null: guests share the dashboard's user */
export const guestFile = (uid: number | null): Shape =>
  uid === null ? { kind: 'dashboard-file' } : { kind: 'guest-file', uid }

export const guestDir = (uid: number | null): Shape =>
  uid === null ? { kind: 'dashboard-dir' } : { kind: 'guest-dir', uid }

export const guestPassage = (uid: number | null): Shape =>
  uid === null ? { kind: 'dashboard-dir' } : { kind: 'guest-passage', uid }

/** @param readersGid group of all guests, or of a layer’s; null: they share the dashboard's user */
export const readersFile = (readersGid: number | null, holder: number | null = null): Shape =>
  readersGid === null ? { kind: 'dashboard-file' } : { kind: 'readers-file', readersGid, holder }

export const readersShared = (readersGid: number | null): Shape =>
  readersGid === null ? { kind: 'dashboard-file' } : { kind: 'readers-shared', readersGid }

export const readersPassage = (readersGid: number | null): Shape =>
  readersGid === null ? { kind: 'dashboard-dir' } : { kind: 'readers-passage', readersGid }
