'use client'
import { useQuery } from '@tanstack/react-query'
import { usePathname, useRouter } from 'next/navigation'
import { type ReactNode, useEffect } from 'react'
import { queries } from '#lib/client/queries.ts'
import { paths } from '#lib/paths.ts'

/**
 * Sends whoever is not signed in to the sign-in page, and back afterwards. Pages render meanwhile: their own requests
 * run beside this one, so a signed-in reader never waits for it.
 */
export function SessionGate({ children }: { readonly children: ReactNode }) {
  const { data: session } = useQuery(queries.session())
  const router = useRouter()
  const pathname = usePathname()
  // Until the second factor that is demanded exists, nothing but the account page answers.
  const enrolling = (session?.enrolling ?? false) && pathname !== paths.account()
  const signedOut = session !== undefined && session.user === null
  const setupNeeded = session?.setupNeeded ?? false
  useEffect(() => {
    if (setupNeeded) router.replace(paths.setup())
    else if (enrolling) router.replace(paths.account())
    else if (signedOut)
      router.replace(`${paths.login()}?next=${encodeURIComponent(location.pathname + location.search)}`)
  }, [signedOut, setupNeeded, enrolling, router])
  return signedOut || setupNeeded || enrolling ? null : children
}
