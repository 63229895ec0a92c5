import type { ReactNode } from 'react'
import { Toasts } from '../_parts/toasts.tsx'

/** Outside the deck: no sign-in, no navigation, no events; nothing but one console. */
export default function GuestLayout({ children }: { readonly children: ReactNode }) {
  return (
    <>
      <main className="flex h-dvh flex-col">{children}</main>
      <Toasts />
    </>
  )
}
