'use client'
import { X } from 'lucide-react'
import dynamic from 'next/dynamic'
import { useState } from 'react'
import { partyKey } from '#components/access/party-select.tsx'
import { useRoleWords } from '#components/access/use-role-words.ts'
import { Badge } from '#components/ui/badge.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { Select } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { useUser } from '#lib/client/session.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { projects as messages } from '#lib/i18n/messages/en/projects.ts'
import type { Project } from '#lib/schema/project.ts'
import { memberInputs } from './member-inputs.ts'

const MemberDialog = dynamic(() => import('./member-dialog.tsx').then((m) => m.MemberDialog), { ssr: false })

/** People and groups of a project with their roles; a change counts at once. */
export function Members({ project, mayNot }: { readonly project: Project; readonly mayNot: string | null }) {
  const t = useT(messages)
  const [adding, setAdding] = useState(false)
  return (
    <Section
      title={t('members.title')}
      note={<span className="figures">{project.members.length}</span>}
      actions={
        <Button size="sm" disabledReason={mayNot} onClick={() => setAdding(true)}>
          {t('members.add')}
        </Button>
      }
    >
      {project.members.length === 0 && <p className="text-faint">{t('members.none')}</p>}
      <ul className="-mt-3 flex flex-col">
        {project.members.map((member) => (
          <Member key={partyKey(member.to)} project={project} member={member} mayNot={mayNot} />
        ))}
      </ul>
      {adding && <MemberDialog project={project} onClose={() => setAdding(false)} />}
    </Section>
  )
}

function Member({
  project,
  member,
  mayNot,
}: {
  readonly project: Project
  readonly member: Project['members'][number]
  readonly mayNot: string | null
}) {
  const t = useT(messages)
  const roles = useRoleWords('project')
  const isOwn = useUser()?.id === member.to.id
  const who = member.name
  const update = useOperation('projectUpdate', {
    onError: (error) => toastError(error, t('failed', { name: project.name })),
  })
  const { mutateAsync: save } = useOperation('projectUpdate')
  const others = project.members.filter((other) => partyKey(other.to) !== partyKey(member.to))
  const input = (members: ReturnType<typeof memberInputs>) => ({
    input: { params: { id: project.id }, body: { members } },
    ifMatch: project.revision,
  })
  // A custom role that has gone stays shown until another is chosen.
  const isKnown = roles.choices.some(({ value }) => value === member.role)
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-b py-2">
      <span className="flex min-w-0 flex-1 basis-40 items-center gap-2">
        <span className="truncate font-medium">{who}</span>
        {member.to.type === 'group' && <Badge>{t('members.group')}</Badge>}
        {isOwn && <Badge tone="accent">{t('members.you')}</Badge>}
      </span>
      <span className="min-w-0 flex-[2] basis-72 text-dim text-sm">{roles.explain(member.role)}</span>
      <Select
        className="w-40"
        label={t('members.change', { who })}
        hideLabel
        value={member.role}
        aria-busy={update.isPending}
        title={mayNot ?? undefined}
        {...(mayNot === null ? {} : { 'aria-disabled': true, 'aria-description': mayNot })}
        onChange={(event) => {
          const role = event.target.value
          if (mayNot !== null) return
          update.mutate(
            input(
              memberInputs(project.members).map((one) =>
                partyKey(one.to) === partyKey(member.to) ? { ...one, role: role as typeof one.role } : one,
              ),
            ),
            {
              onSuccess: () =>
                showToast({ kind: 'done', title: t('members.changed', { who, role: roles.name(role) }) }),
            },
          )
        }}
        options={[
          ...roles.choices.map(({ value, label }) => ({ value, label })),
          ...(isKnown ? [] : [{ value: member.role, label: roles.name(member.role) }]),
        ]}
      />
      <IconButton
        size="sm"
        label={t('members.remove', { who })}
        disabledReason={mayNot}
        onClick={() =>
          askToConfirm({
            title: t('members.removeTitle', { who, name: project.name }),
            body: isOwn ? t('members.removeOwn') : t('members.removeBody'),
            stays: [t('members.removeStays')],
            confirmLabel: t('members.remove', { who }),
            danger: true,
            run: async () => {
              await save(input(memberInputs(others)))
              showToast({ kind: 'done', title: t('members.removed', { who, name: project.name }) })
            },
          })
        }
      >
        <X size={14} aria-hidden="true" />
      </IconButton>
    </li>
  )
}
