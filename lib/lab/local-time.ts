/** Values of `datetime-local` and `date` fields, in the reader's zone. */
const two = (n: number) => String(n).padStart(2, '0')

export const dateField = (at: Date): string => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
export const timeField = (at: Date): string => `${two(at.getHours())}:${two(at.getMinutes())}`
export const momentField = (at: Date): string => `${dateField(at)}T${timeField(at)}`

/** Null for what is no date. */
export function momentOf(field: string): Date | null {
  const at = new Date(field)
  return field === '' || Number.isNaN(at.getTime()) ? null : at
}
