'use client'
import { useState } from 'react'
import { PartySelect, partyKey, partyOf } from '#components/access/party-select.tsx'
import { useRoleWords } from '#components/access/use-role-words.ts'
import { Button } from '#components/ui/button.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { access } from '#lib/i18n/messages/en/access.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { projects as messages } from '#lib/i18n/messages/en/projects.ts'
import type { Project } from '#lib/schema/project.ts'
import { memberInputs } from './member-inputs.ts'

/** Takes a person or a group into a project. */
export function MemberDialog({ project, onClose }: { readonly project: Project; readonly onClose: () => void }) {
  const t = useT(messages)
  const tAccess = useT(access)
  const tApp = useT(app)
  const { choices } = useRoleWords('project')
  const [to, setTo] = useState('')
  const [role, setRole] = useState('member')
  const [isTried, setTried] = useState(false)
  const { mutate, isPending, error } = useOperation('projectUpdate', {
    onSuccess: (saved) => {
      const who = saved.members.find((member) => partyKey(member.to) === to)?.name ?? ''
      showToast({ kind: 'done', title: t('members.added', { who, name: saved.name }) })
      onClose()
    },
  })
  return (
    <Dialog
      title={t('members.addTitle', { name: project.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      locked={isPending}
      footer={
        <>
          <Button onClick={onClose}>{tApp('cancel')}</Button>
          <Button type="submit" form="member-form" variant="primary" pending={isPending}>
            {t('members.submit')}
          </Button>
        </>
      }
    >
      <form
        id="member-form"
        noValidate
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          setTried(true)
          const party = partyOf(to)
          if (party === null) return
          mutate({
            input: {
              params: { id: project.id },
              body: { members: [...memberInputs(project.members), { to: party, role }] },
            },
            ifMatch: project.revision,
          })
        }}
      >
        {error && (
          <div role="alert">
            <Banner tone="error">{error.message}</Banner>
          </div>
        )}
        <PartySelect
          value={to}
          onValue={setTo}
          taken={new Set(project.members.map((member) => partyKey(member.to)))}
          error={isTried && to === '' ? tAccess('choose') : undefined}
        />
        <RadioCards
          legend={tAccess('role')}
          name="role"
          value={role}
          onValue={setRole}
          columns="grid-cols-1"
          options={choices}
        />
      </form>
    </Dialog>
  )
}
