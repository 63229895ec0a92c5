'use client'
import { Checkbox } from '#components/ui/choice.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { cleanUp as messages } from '#lib/i18n/messages/en/clean-up.ts'
import type { CloneFacts } from '#lib/schema/clone.ts'
import { CLEAN_UPS, type CleanUpName, USUAL_CLEAN_UPS } from '#lib/schema/clone.ts'

export interface CleanUpDraft {
  readonly wanted: boolean
  readonly operations: readonly CleanUpName[]
  readonly hostName: string
}

export const NO_CLEAN_UP: CleanUpDraft = { wanted: false, operations: USUAL_CLEAN_UPS, hostName: '' }

/** What the API is asked; undefined: nothing is cleaned up. */
export const cleanUpInput = ({ wanted, operations, hostName }: CleanUpDraft) =>
  wanted ? { operations: [...operations], hostName: hostName.trim() === '' ? null : hostName.trim() } : undefined

/** Whether it asks for nothing although it is switched on. */
export const isEmptyCleanUp = ({ wanted, operations, hostName }: CleanUpDraft): boolean =>
  wanted && operations.length === 0 && hostName.trim() === ''

interface Props {
  readonly state: CloneFacts['cleanUp']
  readonly draft: CleanUpDraft
  readonly error: string | undefined
  onDraft(draft: CleanUpDraft): void
}

/** What is taken out of the disks of a clone, each with what it does and costs. */
export function CloneCleanUp({ state, draft, error, onDraft }: Props) {
  const t = useT(messages)
  const toggle = (name: CleanUpName, isOn: boolean) =>
    onDraft({
      ...draft,
      operations: CLEAN_UPS.filter((one) => (one === name ? isOn : draft.operations.includes(one))),
    })
  return (
    <div className="flex flex-col gap-3">
      <Checkbox
        label={t('title')}
        hint={t('note')}
        disabledReason={state.allowed ? null : state.reason}
        checked={draft.wanted && state.allowed}
        onChange={(event) => onDraft({ ...draft, wanted: event.target.checked })}
      />
      {draft.wanted && state.allowed && (
        <div className="flex flex-col gap-4 border-edge border-s-2 ps-4">
          <TextField
            label={t('hostName')}
            hint={t('hostNameHint', { name: '{name}', index: '{index}' })}
            error={error}
            value={draft.hostName}
            maxLength={63}
            onChange={(event) => onDraft({ ...draft, hostName: event.target.value })}
          />
          <fieldset className="flex flex-col gap-2">
            <legend className="mb-1 font-medium text-dim text-sm">{t('operations')}</legend>
            {CLEAN_UPS.map((name) => (
              <Checkbox
                key={name}
                label={t(`names.${name}`)}
                hint={t(`notes.${name}`)}
                checked={draft.operations.includes(name)}
                onChange={(event) => toggle(name, event.target.checked)}
              />
            ))}
          </fieldset>
        </div>
      )}
    </div>
  )
}
