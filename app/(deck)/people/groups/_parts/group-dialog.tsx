'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { SaveDialog } from '#components/nav/save-dialog.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { TextField } from '#components/ui/field.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { roles as messages } from '#lib/i18n/messages/en/roles.ts'
import type { Group } from '#lib/schema/project.ts'

/** A new group, or one that exists. */
export function GroupDialog({ group, onClose }: { readonly group: Group | null; readonly onClose: () => void }) {
  const t = useT(messages)
  const people = useQuery(queries.userList()).data?.items
  const [name, setName] = useState(group?.name ?? '')
  const [memberIds, setMembers] = useState<readonly string[]>(group?.members.map(({ id }) => id) ?? [])
  const [external, setExternal] = useState(group?.external ?? '')
  const [isTried, setTried] = useState(false)
  const done = (key: 'groups.created' | 'groups.saved') => ({
    onSuccess: (saved: Group) => {
      showToast({ kind: 'done', title: t(key, { name: saved.name }) })
      onClose()
    },
  })
  const create = useOperation('groupCreate', done('groups.created'))
  const client = useQueryClient()
  const update = useOperation('groupUpdate', {
    ...done('groups.saved'),
    onError: ({ code }) => {
      if (code === 'stale_revision') void client.invalidateQueries({ queryKey: queries.groupList().queryKey })
    },
  })
  const isPending = create.isPending || update.isPending
  const error = create.error ?? update.error
  const field = error?.code === 'name_taken' ? 'name' : error?.field
  const body = {
    name: name.trim(),
    memberIds: [...memberIds],
    external: external.trim() === '' ? null : external.trim(),
  }
  return (
    <SaveDialog
      title={group === null ? t('groups.formTitle') : t('groups.editTitle', { name: group.name })}
      isPending={isPending}
      error={error && field !== 'name' && field !== 'external' ? error : null}
      onClose={onClose}
      onSubmit={() => {
        setTried(true)
        if (body.name === '') return
        if (group === null) create.mutate({ input: { body } })
        else update.mutate({ input: { params: { id: group.id }, body }, ifMatch: group.revision })
      }}
    >
      <TextField
        label={t('groups.name')}
        required
        maxLength={64}
        value={name}
        onChange={(event) => setName(event.target.value)}
        error={isTried && body.name === '' ? t('groups.needName') : field === 'name' ? error?.message : undefined}
      />
      <fieldset className="min-w-0 rounded-md border border-line px-3 pb-3">
        <legend className="px-1 font-medium text-dim text-sm">{t('groups.members')}</legend>
        <div className="grid max-h-56 gap-x-4 gap-y-1.5 overflow-y-auto sm:grid-cols-2">
          {people?.map((person) => (
            <Checkbox
              key={person.id}
              label={person.name}
              checked={memberIds.includes(person.id)}
              onChange={(event) =>
                setMembers(
                  event.target.checked ? [...memberIds, person.id] : memberIds.filter((known) => known !== person.id),
                )
              }
            />
          ))}
        </div>
      </fieldset>
      <TextField
        label={t('groups.external')}
        hint={t('groups.externalHint')}
        placeholder="oidc:staff"
        mono
        spellCheck={false}
        value={external}
        onChange={(event) => setExternal(event.target.value)}
        error={field === 'external' ? error?.message : undefined}
      />
    </SaveDialog>
  )
}
