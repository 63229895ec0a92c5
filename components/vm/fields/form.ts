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
  /** Dotted paths of all fields with a message. */
  readonly broken?: readonly string[]
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

/** Time for a form that is fetched when it is first opened. */
const LOAD_MS = 5_000

/** Element ids a pointer may lead to, the nearest first: `/disks/0/bus` → `field-disks-0-bus`, `field-disks-0`… */
function anchorsOf(pointer: string): string[] {
  const steps = pointer.split('/').filter(Boolean)
  return steps.map((_, n) => `field-${steps.slice(0, steps.length - n).join('-')}`)
}

function focusOn(target: HTMLElement): void {
  const control =
    target.querySelector<HTMLElement>('[aria-invalid=true]') ??
    target.querySelector<HTMLElement>('input:checked, input:not([type=radio]), select, textarea, button')
  target.scrollIntoView({ block: 'center' })
  ;(control ?? target).focus({ preventScroll: true })
}

/** Brings a field into view, opens what hides it, waits for it when it is still to be fetched, and gives it the focus. */
export function focusField(pointer: string): void {
  const anchors = anchorsOf(pointer)
  const [exact] = anchors
  const [first = ''] = pointer.split('/').filter(Boolean)
  const find = () => anchors.map((id) => document.getElementById(id)).find((element) => element !== null)
  const target = find() ?? document.querySelector<HTMLElement>(`[data-fields~="${CSS.escape(first)}"]`)
  if (target === null) return
  for (let at: Element | null = target; at !== null; at = at.parentElement)
    if (at instanceof HTMLDetailsElement) at.open = true
  const shown = target.querySelector('[aria-invalid=true]')?.checkVisibility() ?? false
  const isThere = target.id === exact || shown
  if (!isThere) for (const inner of target.querySelectorAll('details')) inner.open = true
  focusOn(target)
  if (isThere) return
  const watch = new MutationObserver(() => {
    const found = find()
    if (found?.id !== exact && found?.querySelector('[aria-invalid=true]') == null) return
    watch.disconnect()
    if (found !== undefined) focusOn(found)
  })
  watch.observe(target, { childList: true, subtree: true, attributes: true, attributeFilter: ['aria-invalid'] })
  setTimeout(() => watch.disconnect(), LOAD_MS)
}

let lastKey = 0
/** A key for a new row. */
export const rowKey = () => `row-${++lastKey}`
