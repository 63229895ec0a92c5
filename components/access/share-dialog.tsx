'use client'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { X } from 'lucide-react'
import { useState } from 'react'
import { LoadError } from '#components/nav/load-error.tsx'
import { Badge } from '#components/ui/badge.tsx'
import { Button, IconButton } from '#components/ui/button.tsx'
import { RadioCards } from '#components/ui/choice.tsx'
import { Dialog } from '#components/ui/dialog.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Select } from '#components/ui/field.tsx'
import { Facts } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { showToast } from '#lib/client/toasts.ts'
import { access as messages } from '#lib/i18n/messages/en/access.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import type { ObjectAccess } from '#lib/schema/project.ts'
import { ACCESS_UPDATE, type Shared } from './access-kinds.ts'
import { PartySelect, partyKey, partyOf } from './party-select.tsx'
import { useRoleWords } from './use-role-words.ts'

/** Who else reaches one object, and as what. Every change counts at once. */
export function ShareDialog({ of, onClose }: { readonly of: Shared; readonly onClose: () => void }) {
  const t = useT(messages)
  const tApp = useT(app)
  const { data, error, refetch } = useQuery(queries.access(of.kind, of.id))
  return (
    <Dialog
      title={t('share.title', { name: of.name })}
      closeLabel={tApp('close')}
      onClose={onClose}
      width="md"
      footer={<Button onClick={onClose}>{tApp('close')}</Button>}
    >
      {error && !data && <LoadError error={error} onRetry={() => void refetch()} />}
      {!error && !data && <Skeleton className="h-48 w-full" />}
      {data && <Shares of={of} access={data} />}
    </Dialog>
  )
}

/** As the API takes them: without their names. */
const inputs = (shares: ObjectAccess['shares']) => shares.map(({ to, role }) => ({ to, role }))
type ShareInput = ReturnType<typeof inputs>[number]

function Shares({ of, access }: { readonly of: Shared; readonly access: ObjectAccess }) {
  const t = useT(messages)
  const roles = useRoleWords(of.kind)
  const [to, setTo] = useState('')
  const [role, setRole] = useState('viewer')
  const [isTried, setTried] = useState(false)
  const client = useQueryClient()
  const { queryKey } = queries.access(of.kind, of.id)
  const update = useOperation(ACCESS_UPDATE[of.kind])
  const saving = update.isPending ? t('share.saving') : null
  const { shares, project, reason } = access
  const change = (next: readonly ShareInput[], done: string, after?: () => void) =>
    update.mutate(
      { input: { params: { id: of.id }, body: { shares: [...next] } }, ifMatch: access.revision },
      {
        onError: ({ code }) => {
          if (code === 'stale_revision') void client.invalidateQueries({ queryKey })
        },
        onSuccess: (now) => {
          // The next change is made from this one.
          client.setQueryData(queryKey, now)
          showToast({ kind: 'done', title: done })
          after?.()
        },
      },
    )
  const rolesWith = (known: string) => [
    ...roles.choices,
    ...(roles.choices.some(({ value }) => value === known) ? [] : [{ value: known, label: roles.name(known) }]),
  ]
  return (
    <div className="flex flex-col gap-5">
      <p className="text-dim">{t('share.intro')}</p>
      <Facts
        facts={[
          { label: t('share.owner'), value: access.owner.name },
          {
            label: t('share.project'),
            value:
              project === null ? (
                <span className="text-faint">{t(of.kind === 'image' ? 'share.commonLibrary' : 'share.noProject')}</span>
              ) : (
                <>
                  {project.name} <span className="block text-faint text-sm">{t('share.viaProject')}</span>
                </>
              ),
          },
        ]}
      />
      {update.error && (
        <div role="alert">
          <Banner tone="error">
            <p className="font-medium">{t('share.failed', { name: of.name })}</p>
            <p>{update.error.message}</p>
            {update.error.code === 'stale_revision' && <p>{t('share.stale')}</p>}
          </Banner>
        </div>
      )}
      {reason !== null ? (
        <Banner tone="info">{reason}</Banner>
      ) : (
        <>
          <section aria-label={t('share.list')} className="flex flex-col gap-1">
            <h3>{t('share.list')}</h3>
            {shares.length === 0 && <p className="text-faint">{t('share.none')}</p>}
            <ul>
              {shares.map((share) => {
                const key = partyKey(share.to)
                const who = share.name
                return (
                  <li key={key} className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-b py-2">
                    <span className="flex min-w-0 flex-1 basis-40 flex-wrap items-center gap-x-2">
                      <span className="break-all font-medium">{who}</span>
                      {share.to.type !== 'person' && <Badge>{t(`kinds.${share.to.type}`)}</Badge>}
                      <span className="basis-full text-faint text-sm">{roles.explain(share.role)}</span>
                    </span>
                    <Select
                      className="w-32"
                      label={t('roleOf', { name: who })}
                      hideLabel
                      value={share.role}
                      disabledReason={saving}
                      options={rolesWith(share.role).map(({ value, label }) => ({ value, label }))}
                      onChange={(event) => {
                        const next = event.target.value
                        change(
                          inputs(shares).map((one) =>
                            // One of the roles offered.
                            partyKey(one.to) === key ? { ...one, role: next as ShareInput['role'] } : one,
                          ),
                          t('share.changed', { who }),
                        )
                      }}
                    />
                    <IconButton
                      size="sm"
                      label={t('share.remove', { name: who })}
                      disabledReason={saving}
                      onClick={() =>
                        change(
                          inputs(shares).filter((one) => partyKey(one.to) !== key),
                          t('share.removed', { name: of.name, who }),
                        )
                      }
                    >
                      <X size={14} aria-hidden="true" />
                    </IconButton>
                  </li>
                )
              })}
            </ul>
          </section>
          <form
            noValidate
            className="flex flex-col gap-3"
            onSubmit={(event) => {
              event.preventDefault()
              setTried(true)
              const party = partyOf(to)
              if (party === null) return
              // The picker offers what the directory named, with the roles there are.
              const added = { to: party, role } as ShareInput
              const who = event.currentTarget.querySelector('option:checked')?.textContent ?? ''
              change([...inputs(shares), added], t('share.done', { name: of.name, who }), () => {
                setTo('')
                setTried(false)
              })
            }}
          >
            <PartySelect
              label={t('share.add')}
              value={to}
              onValue={setTo}
              withProjects
              taken={
                new Set([
                  ...shares.map((share) => partyKey(share.to)),
                  ...(project === null ? [`person:${access.owner.id}`] : [`project:${project.id}`]),
                ])
              }
              error={isTried && to === '' ? t('choose') : undefined}
            />
            <RadioCards
              legend={t('role')}
              name="share-role"
              value={role}
              onValue={setRole}
              columns="grid-cols-1"
              options={roles.choices}
            />
            <Button type="submit" variant="primary" className="self-start" pending={update.isPending}>
              {t('share.submit')}
            </Button>
          </form>
        </>
      )}
    </div>
  )
}
