import type { Metadata } from 'next'
import { OidcReturn } from '../../_parts/oidc-return.tsx'

export const metadata: Metadata = { title: 'Sign in' }

export default function OidcReturnPage() {
  return <OidcReturn />
}
