/** What the field groups share: the draft, what it would become, and how to change it. */
import type { VmSpec } from '#lib/schema/vm-spec.ts'
import type { ScalarDraft, SpecDraft } from '../spec-draft.ts'

export interface SpecForm {
  readonly mode: 'create' | 'change'
  readonly draft: SpecDraft
  /** The complete definition the draft leads to; null until it is known. */
  readonly effective: VmSpec | null
  /** What the host's figures already count for this VM, because it runs. */
  readonly counted: { readonly cpus: number; readonly memoryMiB: number } | null
  /** Message for a field by its dotted path (`disks.0.image`), or undefined. */
  readonly errorOf: (field: string) => string | undefined
  readonly update: (change: (draft: SpecDraft) => SpecDraft) => void
  readonly setScalar: <K extends keyof ScalarDraft>(key: K, value: ScalarDraft[K]) => void
}

/** The drafted value, or what it defaults to. */
export function shownValue<K extends keyof ScalarDraft>(form: SpecForm, key: K): VmSpec[K] | null {
  const drafted = form.draft.scalars[key]
  // A key of the spec indexes its own value; the compiler loses that over so many keys.
  if (drafted !== undefined) return drafted as VmSpec[K] | null
  return form.effective?.[key] ?? null
}

/** The complete drive of row `index`: by its id, or by its place while the last answer still matches the rows. */
export function effectiveDrive(form: SpecForm, index: number): VmSpec['disks'][number] | null {
  const drives = form.effective?.disks
  const row = form.draft.drives[index]
  if (row?.id !== undefined) return drives?.find((drive) => drive.id === row.id) ?? null
  const drive = drives?.[index]
  if (drives?.length !== form.draft.drives.length || drive?.device !== row?.device) return null
  return drive ?? null
}

/** The same for network cards. */
export function effectiveCard(form: SpecForm, index: number): VmSpec['networks'][number] | null {
  const cards = form.effective?.networks
  const row = form.draft.cards[index]
  if (row?.id !== undefined) return cards?.find((card) => card.id === row.id) ?? null
  return cards?.length === form.draft.cards.length ? (cards[index] ?? null) : null
}

/** Element id of the field a JSON pointer leads to: `/disks/0/image` → `field-disks-0`. */
export function anchorOf(pointer: string): string {
  const [, name = '', index] = pointer.split('/')
  return index !== undefined && /^\d+$/.test(index) ? `field-${name}-${index}` : `field-${name}`
}

/** Brings a field into view, opens what hides it and puts the focus into it. */
export function focusField(pointer: string): void {
  const target = document.getElementById(anchorOf(pointer)) ?? document.getElementById(`field-${pointer.split('/')[1]}`)
  if (target === null) return
  for (let at: Element | null = target; at !== null; at = at.parentElement)
    if (at instanceof HTMLDetailsElement) at.open = true
  for (const inner of target.querySelectorAll('details')) inner.open = true
  const control =
    target.querySelector<HTMLElement>('[aria-invalid=true]') ??
    target.querySelector<HTMLElement>('input:checked, input:not([type=radio]), select, textarea, button')
  target.scrollIntoView({ block: 'center' })
  ;(control ?? target).focus({ preventScroll: true })
}

let lastKey = 0
/** A key for a new row. */
export const rowKey = () => `row-${++lastKey}`
