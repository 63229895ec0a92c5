'use client'
import { useQueryClient } from '@tanstack/react-query'
import { useRouter } from 'next/navigation'
import { useEffect, useRef } from 'react'
import { ButtonLink } from '#components/nav/link.tsx'
import { Banner } from '#components/ui/feedback.tsx'
import { Spinner } from '#components/ui/spinner.tsx'
import { useT } from '#lib/client/i18n.tsx'
import { useOperation } from '#lib/client/mutations.ts'
import { queries } from '#lib/client/queries.ts'
import { safeNext } from '#lib/client/safe-next.ts'
import { auth } from '#lib/i18n/messages/en/auth.ts'
import { paths } from '#lib/paths.ts'
import { takeNext } from './oidc-next.ts'

/** Where an OpenID provider sends the browser: hands its answer to the server, from our own page. */
export function OidcReturn() {
  const t = useT(auth)
  const router = useRouter()
  const client = useQueryClient()
  const sent = useRef(false)
  const { mutate, error } = useOperation('oidcSession', {
    onSuccess: (answer) => {
      client.clear()
      client.setQueryData(queries.session().queryKey, answer)
      router.replace(safeNext(takeNext()))
    },
  })
  useEffect(() => {
    // The code works once, and effects may run twice.
    if (sent.current) return
    sent.current = true
    const query = location.search.slice(1)
    // It belongs neither into the history nor into a bookmark.
    history.replaceState(history.state, '', location.pathname)
    mutate({ input: { body: { query } } })
  }, [mutate])
  return error ? (
    <div className="flex flex-col items-start gap-4">
      <h1>{t('login.failedTitle')}</h1>
      <div role="alert" className="w-full">
        <Banner tone="error">{error.message}</Banner>
      </div>
      <ButtonLink href={paths.login()}>{t('login.back')}</ButtonLink>
    </div>
  ) : (
    <p className="flex items-center gap-2 text-dim" role="status">
      <Spinner />
      {t('login.finishing')}
    </p>
  )
}
