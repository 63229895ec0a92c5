'use client'
import { useQuery } from '@tanstack/react-query'
import { LoadError } from '#components/nav/load-error.tsx'
import { Time } from '#components/text/time.tsx'
import { Banner, Skeleton } from '#components/ui/feedback.tsx'
import { Facts, Page, PageHeader, Section } from '#components/ui/page.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { queries } from '#lib/client/queries.ts'
import { account as messages } from '#lib/i18n/messages/en/account.ts'
import { app } from '#lib/i18n/messages/en/app.ts'
import { people } from '#lib/i18n/messages/en/people.ts'
import { IdentityHost } from '../../_parts/identity-host.tsx'
import { OwnPassword } from './own-password.tsx'
import { OwnSessions } from './own-sessions.tsx'
import { OwnTokens } from './own-tokens.tsx'
import { SecondFactor } from './second-factor.tsx'

export function AccountScreen() {
  const t = useT(messages)
  const tApp = useT(app)
  const tPeople = useT(people)
  const { data, error, refetch } = useQuery(queries.account())
  const { data: session } = useQuery(queries.session())
  if (error && !data) {
    return (
      <Page>
        <PageHeader title={t('title')} />
        <LoadError error={error} onRetry={() => void refetch()} />
      </Page>
    )
  }
  const ways = data && [
    ...(data.user.hasPassword ? [t('profile.password')] : []),
    ...data.user.logins.map(({ realm }) => t(`profile.realm.${realm}`)),
  ]
  return (
    <Page>
      <PageHeader title={t('title')} />
      {session?.enrolling && <Banner tone="attention">{t('enrol')}</Banner>}
      <div className="grid items-start gap-x-10 gap-y-8 lg:grid-cols-[22rem_minmax(0,1fr)]">
        <div className="flex min-w-0 flex-col gap-8">
          <Section title={t('profile.title')}>
            {data ? (
              <Facts
                facts={[
                  { label: t('profile.name'), value: data.user.name },
                  {
                    label: t('profile.role'),
                    value: `${tApp(`role.${data.user.role}`)}: ${tPeople(`roles.${data.user.role}`)}`,
                  },
                  { label: t('profile.since'), value: <Time at={data.user.createdAt} /> },
                  { label: t('profile.ways'), value: ways?.join(', ') },
                ]}
              />
            ) : (
              <Skeleton className="h-20 w-full" />
            )}
          </Section>
          <Section title={tPeople('ownPassword.title')}>
            {data?.user.hasPassword === false ? <p className="text-dim">{t('elsewhere')}</p> : <OwnPassword />}
          </Section>
        </div>
        <div className="flex min-w-0 flex-col gap-8">
          <Section title={t('factor.title')} note={t('factor.intro')}>
            {data ? <SecondFactor account={data} /> : <Skeleton className="h-32 w-full" />}
          </Section>
          {session?.enrolling !== true && (
            <>
              <OwnSessions />
              <Section title={tPeople('tokens.title')}>
                <OwnTokens />
              </Section>
            </>
          )}
        </div>
      </div>
      <IdentityHost />
    </Page>
  )
}
