'use client'
import { type ReactNode, useState } from 'react'
import { Button } from '#components/ui/button.tsx'
import { Checkbox, Switch } from '#components/ui/choice.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Select, TextArea, TextField } from '#components/ui/field.tsx'
import { Section } from '#components/ui/page.tsx'
import { type ApiError, toApiError } from '#lib/client/api-client.ts'
import { askToConfirm } from '#lib/client/confirm.ts'
import { useT } from '#lib/client/i18n.tsx'
import { confirmed } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { showToast } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { signIn as messages } from '#lib/i18n/messages/en/sign-in.ts'
import type { GroupRole } from '#lib/schema/sign-in.ts'
import type { ExternalRealm, Role } from '#lib/schema/user.ts'
import { linesOf, rolesOf } from './mapping.ts'

export interface Common {
  readonly enabled: boolean
  readonly label: string
  readonly roles: readonly GroupRole[]
  readonly otherRole: Role | null
  readonly createPeople: boolean
}
export type CommonInput = Omit<Common, 'roles'> & { readonly roles: GroupRole[] }

/** What all realms have in common, around the fields of one. */
export function RealmForm({
  realm,
  initial,
  isKept,
  unavailable = null,
  change,
  children,
}: {
  readonly realm: ExternalRealm
  readonly initial: Common
  /** It is set up already. */
  readonly isKept: boolean
  readonly unavailable?: string | null
  /** The change to send, with the common part of it. */
  readonly change: (common: CommonInput) => Record<string, unknown>
  /** @param error of the field of this name, as the server names it */
  readonly children: (error: (name: string) => string | undefined) => ReactNode
}) {
  const t = useT(messages)
  const tApp = useT(app)
  const [common, setCommon] = useState(initial)
  const [lines, setLines] = useState(() => linesOf(initial.roles))
  const [badLine, setBadLine] = useState<number | null>(null)
  const [problem, setProblem] = useState<ApiError | null>(null)
  const [found, setFound] = useState<{ ok: boolean; text: string } | null>(null)
  const { mutateAsync: update, isPending } = useOperation('signInUpdate')
  const check = useOperation('signInCheck', { onSuccess: setFound })
  const set = (part: Partial<Common>) => setCommon((old) => ({ ...old, ...part }))
  const error = (name: string) => (problem?.field === `${realm}.${name}` ? problem.message : undefined)
  const save = async () => {
    const roles = rolesOf(lines)
    setBadLine(typeof roles === 'number' ? roles : null)
    setProblem(null)
    setFound(null)
    if (typeof roles === 'number') return
    try {
      const body = { [realm]: change({ ...common, roles }) }
      await confirmed(() => update({ input: { body } }))
      showToast({ kind: 'done', title: t('saved') })
    } catch (cause) {
      setProblem(toApiError(cause))
    }
  }
  return (
    <Section title={t(`${realm}.title`)} note={t(`${realm}.note`)}>
      <form
        aria-label={t(`${realm}.title`)}
        className="flex max-w-3xl flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault()
          void save()
        }}
      >
        {unavailable !== null && <Banner tone="info">{unavailable}</Banner>}
        {problem && (
          <div role="alert">
            <Banner tone="error">{problem.message}</Banner>
          </div>
        )}
        {found && (
          <div role="status">
            <Banner tone={found.ok ? 'info' : 'attention'}>{found.text}</Banner>
          </div>
        )}
        {isKept && (
          <Switch
            label={t('enabled')}
            checked={common.enabled}
            onChange={(event) => set({ enabled: event.target.checked })}
          />
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <TextField
            label={t('label')}
            required
            maxLength={64}
            value={common.label}
            onChange={(event) => set({ label: event.target.value })}
            error={error('label')}
          />
          {children(error)}
        </div>
        <div className="grid gap-4 sm:grid-cols-2">
          <TextArea
            label={t('map.roles')}
            hint={t('map.rolesHint')}
            mono
            value={lines}
            onChange={(event) => setLines(event.target.value)}
            error={badLine === null ? undefined : t('map.badLine', { line: badLine })}
          />
          <div className="flex flex-col gap-4">
            <Select
              label={t('map.other')}
              value={common.otherRole ?? ''}
              onChange={(event) => set({ otherRole: event.target.value === '' ? null : (event.target.value as Role) })}
              options={[
                { value: '', label: t('map.refused') },
                ...(['viewer', 'member', 'operator', 'admin'] as const).map((role) => ({
                  value: role,
                  label: tApp(`role.${role}`),
                })),
              ]}
            />
            <Checkbox
              label={t('map.create')}
              hint={t('map.createHint')}
              checked={common.createPeople}
              onChange={(event) => set({ createPeople: event.target.checked })}
            />
          </div>
        </div>
        <div className="flex flex-wrap gap-2">
          <Button type="submit" variant="primary" pending={isPending}>
            {t('save')}
          </Button>
          {isKept && (
            <>
              <Button pending={check.isPending} onClick={() => check.mutate({ input: { body: { realm } } })}>
                {t('check')}
              </Button>
              <Button
                onClick={() =>
                  askToConfirm({
                    title: t('removeTitle', { label: initial.label }),
                    body: t('removeBody'),
                    confirmLabel: t('remove'),
                    danger: true,
                    run: () => confirmed(() => update({ input: { body: { [realm]: null } } })),
                  })
                }
              >
                {t('remove')}
              </Button>
            </>
          )}
        </div>
      </form>
    </Section>
  )
}
