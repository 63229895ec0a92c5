'use client'
import { useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { NumberField, TextArea, TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { vm as vmMessages } from '#lib/i18n/messages/en/vm.ts'
import { vmOverview as messages } from '#lib/i18n/messages/en/vm-overview.ts'
import type { Vm } from '#lib/schema/vm-state.ts'

/** The settings people change most. Sends only what differs, and the revision it was read at. */
export function SettingsDialog({ vm, onClose }: { readonly vm: Vm; readonly onClose: () => void }) {
  const t = useT(messages)
  const tVm = useT(vmMessages)
  const tApp = useT(app)
  // What the form was filled from: live events go on changing `vm` underneath.
  const [base, setBase] = useState(vm)
  const [name, setName] = useState(vm.spec.name)
  const [description, setDescription] = useState(vm.spec.description)
  const [tags, setTags] = useState(vm.spec.tags.join(' '))
  const [cpus, setCpus] = useState<number | null>(vm.spec.cpus)
  const [memoryMiB, setMemoryMiB] = useState<number | null>(vm.spec.memoryMiB)
  const [autostart, setAutostart] = useState(vm.spec.autostart)
  const [checked, setChecked] = useState(false)
  const update = useOperation('vmUpdate', { onSuccess: onClose })
  const { error } = update

  const tagList = tags.split(/[\s,]+/u).filter((tag) => tag !== '')
  const cpusBad = cpus === null || !Number.isInteger(cpus) || cpus < 1 || cpus > 255
  const memoryBad = memoryMiB === null || !Number.isInteger(memoryMiB) || memoryMiB < 16
  const conflict = error?.code === 'stale_revision'
  const fields = ['name', 'description', 'tags', 'cpus', 'memoryMiB', 'autostart']
  const field = error?.field?.split('.')[0]
  const placed = field !== undefined && fields.includes(field)
  const errorOf = (wanted: string) => (field === wanted ? error?.message : undefined)

  const save = () => {
    setChecked(true)
    if (cpusBad || memoryBad) return
    const { spec } = base
    const body = {
      ...(name.trim() !== spec.name && { name: name.trim() }),
      ...(description !== spec.description && { description }),
      ...(tagList.join(' ') !== spec.tags.join(' ') && { tags: tagList }),
      ...(cpus !== spec.cpus && { cpus }),
      ...(memoryMiB !== spec.memoryMiB && { memoryMiB }),
      ...(autostart !== spec.autostart && { autostart }),
    }
    if (Object.keys(body).length === 0) {
      onClose()
      return
    }
    // After a conflict the reader has seen the newer version: saving again is meant.
    const seen = conflict ? vm : base
    setBase(seen)
    update.mutate({ input: { params: { id: vm.id }, body }, ifMatch: seen.revision })
  }

  return (
    <Dialog
      title={t('settings.editTitle', { name: vm.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={update.isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="vm-settings" variant="primary" pending={update.isPending}>
            {tApp('save')}
          </Button>
        </>
      }
    >
      <form
        id="vm-settings"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          save()
        }}
      >
        {error && !placed && (
          <div role="alert">
            <Banner tone="error">{conflict ? t('settings.conflict') : error.message}</Banner>
          </div>
        )}
        {vm.live && (
          <Banner tone="info">
            {t('settings.pendingNote', {
              // CPUs come and go up to what the guest was started with.
              fields: [
                ...(cpus !== null && cpus > vm.spec.maxCpus ? [tVm('field.cpus')] : []),
                tVm('field.memoryMiB'),
              ].join(', '),
            })}
          </Banner>
        )}
        <TextField
          label={tVm('field.name')}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={errorOf('name')}
        />
        <TextArea
          label={tVm('field.description')}
          value={description}
          onChange={(event) => setDescription(event.target.value)}
          error={errorOf('description')}
        />
        <TextField
          label={tVm('field.tags')}
          hint={t('settings.tagsHint')}
          value={tags}
          onChange={(event) => setTags(event.target.value)}
          error={errorOf('tags')}
        />
        <div className="grid gap-4 sm:grid-cols-2">
          <NumberField
            label={tVm('field.cpus')}
            min={1}
            max={255}
            value={cpus}
            onValue={setCpus}
            error={checked && cpusBad ? t('settings.cpusBad') : errorOf('cpus')}
          />
          <NumberField
            label={tVm('field.memoryMiB')}
            unit="MiB"
            min={16}
            step={64}
            value={memoryMiB}
            onValue={setMemoryMiB}
            error={checked && memoryBad ? t('settings.memoryBad') : errorOf('memoryMiB')}
          />
        </div>
        <Checkbox
          label={t('settings.autostart')}
          checked={autostart}
          onChange={(event) => setAutostart(event.target.checked)}
        />
      </form>
    </Dialog>
  )
}
