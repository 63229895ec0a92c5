'use client'
import { useQuery } from '@tanstack/react-query'
import { Breadcrumbs } from '#components/nav/breadcrumbs.tsx'
import { LoadError } from '#components/nav/load-error.tsx'
import { Checkbox } from '#components/ui/choice.tsx'
import { Skeleton } from '#components/ui/feedback.tsx'
import { Page, PageHeader, Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { confirmed } from '#lib/client/identity.ts'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { useCan, useUser } from '#lib/client/session.ts'
import { showToast, toastError } from '#lib/client/toasts.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people } from '#lib/i18n/messages/en/people.ts'
import { signIn as messages } from '#lib/i18n/messages/en/sign-in.ts'
import { paths } from '#lib/paths.ts'
import type { SignInSettings } from '#lib/schema/sign-in.ts'
import type { Role } from '#lib/schema/user.ts'
import { IdentityHost } from '../../../_parts/identity-host.tsx'
import { HostForm } from './host-form.tsx'
import { LdapForm } from './ldap-form.tsx'
import { OidcForm } from './oidc-form.tsx'

export function SignInScreen() {
  const t = useT(messages)
  const tPeople = useT(people)
  const user = useUser()
  const manages = useCan('user.manage')
  return (
    <Page>
      <Breadcrumbs steps={[{ href: paths.people(), label: tPeople('title') }]} />
      <PageHeader title={t('title')} />
      {user && (manages ? <Settings /> : <p className="text-dim">{t('notAllowed')}</p>)}
      <IdentityHost />
    </Page>
  )
}

function Settings() {
  const { data, error, refetch } = useQuery(queries.signInSettings())
  if (error && !data) return <LoadError error={error} onRetry={() => void refetch()} />
  if (!data) return <Skeleton className="h-64 w-full" />
  return (
    <div className="flex flex-col gap-8">
      <Policy policy={data.policy} />
      <OidcForm key={data.oidc ? 'kept' : 'new'} kept={data.oidc} redirectUri={data.redirectUri} />
      <LdapForm key={data.ldap ? 'kept-ldap' : 'new-ldap'} kept={data.ldap} />
      <HostForm key={data.host ? 'kept-host' : 'new-host'} kept={data.host} unavailable={data.hostUnavailable} />
    </div>
  )
}

function Policy({ policy }: { readonly policy: SignInSettings['policy'] }) {
  const t = useT(messages)
  const tApp = useT(app)
  const { mutateAsync: update, isPending } = useOperation('signInUpdate')
  const toggle = async (role: Role, on: boolean) => {
    const others = policy.secondFactorRoles.filter((other) => other !== role)
    const secondFactorRoles = on ? [...others, role] : others
    try {
      await confirmed(() => update({ input: { body: { policy: { secondFactorRoles } } } }))
      showToast({ kind: 'done', title: t('saved') })
    } catch (cause) {
      toastError(cause, t('policy.title'))
    }
  }
  return (
    <Section title={t('policy.title')} note={t('policy.note')}>
      <fieldset className="flex flex-wrap gap-x-6 gap-y-2">
        <legend className="mb-1 font-medium text-dim text-sm">{t('policy.roles')}</legend>
        {(['admin', 'operator', 'member', 'viewer'] as const).map((role) => (
          <Checkbox
            key={role}
            label={tApp(`role.${role}`)}
            checked={policy.secondFactorRoles.includes(role)}
            aria-busy={isPending}
            onChange={(event) => void toggle(role, event.target.checked)}
          />
        ))}
      </fieldset>
    </Section>
  )
}
