'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { wordOf } from '#components/access/use-role-words.ts'
import { type ChoosableVerb, FOR_ADMINISTRATORS, VERB_GROUPS } from '#components/access/verb-groups.ts'
import { SaveDialog } from '#components/nav/save-dialog.tsx'
import { Checkbox, RadioCards } from '#components/ui/choice.tsx'
import { TextField } from '#components/ui/field.tsx'
import { OBJECT_PRIVILEGES, type Privilege } from '#lib/auth/privileges.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { account } from '#lib/i18n/messages/en/account.ts'
import { roles as messages } from '#lib/i18n/messages/en/roles.ts'
import type { CustomRole } from '#lib/schema/project.ts'

const isChoosable = (verb: Privilege): verb is ChoosableVerb => !FOR_ADMINISTRATORS.some((kept) => kept === verb)
const isOfObjects = (verb: Privilege) => OBJECT_PRIVILEGES.some((known) => known === verb)
/** Message key of what a privilege means: dots would be paths. */
const meaningOf = (verb: ChoosableVerb) => `means.${verb.replaceAll('.', '_')}` as 'means.vm_view'

/** A role put together from single privileges. */
export function RoleDialog({ role, onClose }: { readonly role: CustomRole | null; readonly onClose: () => void }) {
  const t = useT(messages)
  const tVerb = useT(account)
  const [name, setName] = useState(role?.name ?? '')
  const [description, setDescription] = useState(role?.description ?? '')
  const [verbs, setVerbs] = useState<readonly ChoosableVerb[]>(role?.privileges.filter(isChoosable) ?? ['vm.view'])
  const [reach, setReach] = useState<'own' | 'all'>(role?.reach ?? 'own')
  const [isTried, setTried] = useState(false)
  const done = (key: 'form.created' | 'form.saved') => ({
    onSuccess: (saved: CustomRole) => {
      showToast({ kind: 'done', title: t(key, { name: saved.name }) })
      onClose()
    },
  })
  const create = useOperation('roleCreate', done('form.created'))
  const client = useQueryClient()
  const update = useOperation('roleUpdate', {
    ...done('form.saved'),
    onError: ({ code }) => {
      if (code === 'stale_revision') void client.invalidateQueries({ queryKey: queries.roleList().queryKey })
    },
  })
  const isPending = create.isPending || update.isPending
  const error = create.error ?? update.error
  const isNameError = error?.code === 'name_taken' || error?.field === 'name'
  const body = { name: name.trim(), description: description.trim(), privileges: [...verbs], reach }
  return (
    <SaveDialog
      title={role === null ? t('form.title') : t('form.editTitle', { name: role.name })}
      width="lg"
      isPending={isPending}
      error={error && !isNameError ? error : null}
      onClose={onClose}
      onSubmit={() => {
        setTried(true)
        if (body.name === '' || verbs.length === 0) return
        if (role === null) create.mutate({ input: { body } })
        else update.mutate({ input: { params: { id: role.id }, body }, ifMatch: role.revision })
      }}
    >
      {role !== null && role.uses > 0 && <p className="text-dim">{t('form.atOnce')}</p>}
      <div className="grid gap-4 sm:grid-cols-2">
        <TextField
          label={t('form.name')}
          required
          maxLength={64}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={isTried && body.name === '' ? t('form.needName') : isNameError ? error?.message : undefined}
        />
        <TextField
          label={t('form.description')}
          maxLength={2000}
          value={description}
          onChange={(event) => setDescription(event.target.value)}
        />
      </div>
      <RadioCards
        legend={t('form.reach')}
        name="reach"
        value={reach}
        onValue={setReach}
        options={(['own', 'all'] as const).map((value) => ({
          value,
          label: t(`form.reaches.${value}`),
          description: t(`form.reachHints.${value}`),
        }))}
      />
      <div className="flex flex-col gap-3">
        <p className="font-medium">{t('form.may')}</p>
        {isTried && verbs.length === 0 && (
          <p role="alert" className="text-crashed text-sm">
            {t('form.needOne')}
          </p>
        )}
        {VERB_GROUPS.map((group) => (
          <fieldset key={group.id} className="min-w-0 rounded-md border border-line px-3 pb-3">
            <legend className="px-1 font-medium text-dim text-sm">{t(`part.${group.id}`)}</legend>
            <div className="grid gap-x-4 gap-y-2 sm:grid-cols-2">
              {group.verbs.map((verb) => (
                <Checkbox
                  key={verb}
                  label={tVerb(wordOf(verb))}
                  hint={isOfObjects(verb) ? t(meaningOf(verb)) : `${t(meaningOf(verb))} ${t('form.serverOnly')}`}
                  checked={verbs.includes(verb)}
                  onChange={(event) =>
                    setVerbs(event.target.checked ? [...verbs, verb] : verbs.filter((known) => known !== verb))
                  }
                />
              ))}
            </div>
          </fieldset>
        ))}
      </div>
    </SaveDialog>
  )
}
