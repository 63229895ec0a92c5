'use client'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox, RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { NumberField, Select, TextField } from '#components/ui/field.tsx'
import { useLocale, useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { cloneNames, proposedName } from '#lib/clones/names.ts'
import { formatBytes } from '#lib/i18n/format.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { cleanUp as cleanUpMessages } from '#lib/i18n/messages/en/clean-up.ts'
import { clones as messages } from '#lib/i18n/messages/en/clones.ts'
import { CLONES_AT_ONCE } from '#lib/schema/clone.ts'
import type { CloneKind } from '#lib/schema/origin.ts'
import type { Snapshot } from '#lib/schema/snapshot.ts'
import type { Vm } from '#lib/schema/vm-state.ts'
import { CloneCleanUp, cleanUpInput, isEmptyCleanUp, NO_CLEAN_UP } from './clone-clean-up.tsx'

interface Props {
  readonly vm: Vm
  /** As the VM was then; left out: as it is now. */
  readonly snapshot?: Pick<Snapshot, 'id' | 'name'>
  readonly onClose: () => void
}

/** What kind, what name, how many: with what each costs and what then depends on what. */
export function CloneDialog({ vm, snapshot, onClose }: Props) {
  const t = useT(messages)
  const tCleanUp = useT(cleanUpMessages)
  const tApp = useT(app)
  const locale = useLocale()
  const facts = useQuery(queries.vmCloneFacts(vm.id))
  const vms = useQuery(queries.vmList()).data?.items
  const [chosen, setChosen] = useState<CloneKind | null>(null)
  const [typed, setTyped] = useState<string | null>(null)
  const [count, setCount] = useState<number | null>(1)
  const [firstIndex, setFirstIndex] = useState<number | null>(1)
  const [tpm, setTpm] = useState<'copy' | 'fresh'>('copy')
  const [start, setStart] = useState(false)
  const [cleanUp, setCleanUp] = useState(NO_CLEAN_UP)
  const clone = useOperation('vmClone', {
    onSuccess: () => {
      showToast({ kind: 'done', title: t('begun', { name: vm.name }) })
      onClose()
    },
    onError: () => {},
  })

  const isTemplate = vm.template !== undefined
  const kind = chosen ?? (facts.data?.linked.allowed === false ? 'full' : 'linked')
  const name = typed ?? proposedName(vm.name, new Set(vms?.map((one) => one.name.toLowerCase())))
  const many = count ?? 1
  const isCountGood = Number.isInteger(many) && many >= 1 && many <= CLONES_AT_ONCE
  const names = isCountGood ? cloneNames(name, vm.name, firstIndex ?? 1, many) : []
  const nameError = clone.error?.field === 'name' ? clone.error.message : undefined
  const hostNameError = clone.error?.field === 'cleanUp.hostName' ? clone.error.message : undefined
  const refused = facts.data?.[kind].reason ?? (isEmptyCleanUp(cleanUp) ? tCleanUp('none') : null)
  const wished = cleanUpInput(cleanUp)
  const submit = () =>
    clone.mutate({
      input: {
        params: { id: vm.id },
        body: {
          ...{ kind, name, count: many, firstIndex: firstIndex ?? 1, tpm, start },
          ...(wished && { cleanUp: wished }),
          ...(snapshot && { snapshot: snapshot.id }),
        },
      },
    })
  return (
    <Dialog
      width="md"
      title={
        snapshot
          ? t('titleSnapshot', { name: vm.name, snapshot: snapshot.name })
          : t(isTemplate ? 'titleTemplate' : 'title', { name: vm.name })
      }
      closeLabel={tApp('close')}
      onClose={onClose}
      locked={clone.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button
            variant="primary"
            pending={clone.isPending}
            disabledReason={facts.data === undefined ? t('loading') : refused}
            onClick={submit}
          >
            {t(isTemplate ? 'submitTemplate' : 'submit', { count: many })}
          </Button>
        </>
      }
    >
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          if (facts.data !== undefined && refused === null && !clone.isPending) submit()
        }}
      >
        {(clone.error ?? facts.error) && nameError === undefined && hostNameError === undefined && (
          <div role="alert">
            <Banner tone="error">{(clone.error ?? facts.error)?.message}</Banner>
          </div>
        )}
        {facts.data === undefined ? (
          <Skeleton className="h-24 w-full" />
        ) : (
          <RadioCards
            legend={t('kind')}
            name="clone-kind"
            value={kind}
            onValue={setChosen}
            options={[
              {
                value: 'linked',
                label: t('linked'),
                description: t('linkedNote', { name: vm.name }),
                disabledReason: facts.data.linked.reason,
              },
              {
                value: 'full',
                label: t('full'),
                description: t('fullNote', { size: formatBytes(facts.data.allocatedBytes, locale) }),
                disabledReason: facts.data.full.reason,
              },
            ]}
          />
        )}
        {vm.live && snapshot === undefined && <p className="text-dim text-sm">{t('running')}</p>}
        <TextField
          label={t('name')}
          hint={t('nameHint', { name: '{name}', index: '{index}' })}
          error={nameError}
          value={name}
          maxLength={64}
          onChange={(event) => setTyped(event.target.value)}
        />
        <div className="grid gap-4 sm:grid-cols-2">
          <NumberField label={t('count')} value={count} onValue={setCount} min={1} max={CLONES_AT_ONCE} />
          {many > 1 && <NumberField label={t('firstIndex')} value={firstIndex} onValue={setFirstIndex} min={0} />}
        </div>
        {names.length > 1 && (
          <p className="text-dim text-sm" aria-live="polite">
            {t('names', { first: names[0]?.name ?? '', last: names.at(-1)?.name ?? '' })}
          </p>
        )}
        {vm.spec.tpm !== 'none' && (
          <Select
            label={t('tpm')}
            value={tpm}
            onChange={(event) => setTpm(event.target.value === 'fresh' ? 'fresh' : 'copy')}
            options={[
              { value: 'copy', label: t('tpmCopy') },
              { value: 'fresh', label: t('tpmFresh') },
            ]}
          />
        )}
        {facts.data !== undefined && (
          <CloneCleanUp state={facts.data.cleanUp} draft={cleanUp} error={hostNameError} onDraft={setCleanUp} />
        )}
        <Checkbox label={t('start')} checked={start} onChange={(event) => setStart(event.target.checked)} />
        {facts.data !== undefined && facts.data.notes.length > 0 && (
          <section aria-label={t('notes')}>
            <h3 className="mb-1 font-medium text-dim text-sm">{t('notes')}</h3>
            <ul className="list-disc ps-5 text-dim text-sm">
              {facts.data.notes.map((note) => (
                <li key={note}>{note}</li>
              ))}
            </ul>
          </section>
        )}
      </form>
    </Dialog>
  )
}
