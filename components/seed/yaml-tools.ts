/** What the text editor needs and the form does not: YAML, the schemas. Loaded with the editor. */
import type { CloudForm, SeedKind } from '#lib/schema/seed.ts'
import { userDataOf } from '#lib/seed/cloud-config.ts'
import { autoinstallOf, kickstartOf, preseedOf } from '#lib/seed/installers.ts'
import { formOfUserData } from '#lib/seed/read-cloud-config.ts'
import { autounattendOf } from '#lib/seed/windows.ts'
import { checkNetworkConfig, checkUserData, type TextProblem } from '#lib/seed/yaml-text.ts'
import { fromCloudForm, type SeedDraft, toSeedInput } from './seed-draft.ts'

const HOST = '{hostname}'

/** What the form of this draft writes; the host name stays a variable unless one was given. */
export function textOf(draft: SeedDraft): string {
  const input = toSeedInput({ ...draft, text: null, password: '' })
  if (input.form === undefined) return ''
  const hostName = input.form.hostName ?? HOST
  // Lists and the like are complete: the draft fills in every field.
  switch (input.kind) {
    case 'nocloud':
      return userDataOf(input.form as CloudForm, hostName)
    case 'windows':
      return autounattendOf(input.form as Parameters<typeof autounattendOf>[0], hostName)
    case 'autoinstall':
      return autoinstallOf(input.form as Parameters<typeof autoinstallOf>[0], hostName)
    case 'preseed':
      return preseedOf(input.form as Parameters<typeof preseedOf>[0], hostName)
    case 'kickstart':
      return kickstartOf(input.form as Parameters<typeof kickstartOf>[0], hostName)
  }
}

export function checkText(kind: SeedKind, text: string): TextProblem[] {
  return kind === 'nocloud' || kind === 'autoinstall' ? checkUserData(text, kind) : []
}

export { checkNetworkConfig }

/** Back to the form, or null where the text says more than the form can. */
export function draftOf(draft: SeedDraft): SeedDraft | null {
  if (draft.text === null || draft.kind !== 'nocloud') return null
  const form = formOfUserData(draft.text)
  return form === null ? null : fromCloudForm(draft, form)
}
