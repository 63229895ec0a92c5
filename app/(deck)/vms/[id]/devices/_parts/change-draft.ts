/** What an editor begins with: the stored definition, with a device more or less. Pure but for the ids of new rows. */
import { rowKey } from '#components/vm/fields/form.ts'
import { newRow } from '#components/vm/fields/rows.ts'
import { newCard, type RowList, rowsOf, type SpecDraft } from '#components/vm/spec-draft.ts'
import type { DeviceList } from '#lib/vm/live-types.ts'
import type { AddKind } from './entries.ts'

export const LIST_OF: { readonly [K in AddKind]: DeviceList } = {
  disk: 'disks',
  cdrom: 'disks',
  network: 'networks',
  dimm: 'dimms',
  input: 'inputs',
  channel: 'channels',
  share: 'shares',
  host: 'hostDevices',
}

/** The draft with a new device of a kind at the end of its list. */
export function withAdded(draft: SpecDraft, what: AddKind): SpecDraft {
  const key = rowKey()
  switch (what) {
    case 'disk':
    case 'cdrom':
      return { ...draft, drives: [...draft.drives, { key, device: what, image: null, origin: 'own' }] }
    case 'network':
      return { ...draft, cards: [...draft.cards, newCard(key)] }
    default: {
      // The other kinds are rows of plain fields.
      const list = LIST_OF[what] as RowList
      const rows = rowsOf(draft, list)
      const added = { ...draft, lists: { ...draft.lists, [list]: [...rows, { key, fields: newRow(list, rows) }] } }
      return what === 'dimm' ? withRoom(added) : added
    }
  }
}

/** A module needs room: the maximum is raised to what all memory adds up to. */
function withRoom(draft: SpecDraft): SpecDraft {
  const { memoryMiB, memoryMaxMiB, virtioMem } = draft.scalars
  const modules = rowsOf(draft, 'dimms').reduce((sum, row) => sum + Number(row.fields.sizeMiB ?? 0), 0)
  const needed = (memoryMiB ?? 0) + (virtioMem?.sizeMiB ?? 0) + modules
  return (memoryMaxMiB ?? 0) >= needed ? draft : { ...draft, scalars: { ...draft.scalars, memoryMaxMiB: needed } }
}

/** The draft without a device, and without what was set on it. */
export function withRemoved(draft: SpecDraft, list: DeviceList, id: string): SpecDraft {
  const { [id]: _, ...properties } = draft.scalars.properties ?? {}
  const rest: SpecDraft = { ...draft, scalars: { ...draft.scalars, properties } }
  if (list === 'disks') return { ...rest, drives: draft.drives.filter((drive) => drive.id !== id) }
  if (list === 'networks') return { ...rest, cards: draft.cards.filter((card) => card.id !== id) }
  return {
    ...rest,
    lists: { ...draft.lists, [list]: rowsOf(draft, list).filter((row) => row.fields.id !== id) },
  }
}

/** Place of a device in the draft; -1 when it was taken out. */
export function indexIn(draft: SpecDraft, list: DeviceList, id: string): number {
  if (list === 'disks') return draft.drives.findIndex((drive) => drive.id === id)
  if (list === 'networks') return draft.cards.findIndex((card) => card.id === id)
  return rowsOf(draft, list).findIndex((row) => row.fields.id === id)
}

/** How many devices the draft has in a list. */
export function countIn(draft: SpecDraft, list: DeviceList): number {
  if (list === 'disks') return draft.drives.length
  return list === 'networks' ? draft.cards.length : rowsOf(draft, list).length
}
