import type { ReactNode } from 'react'
import { Shell } from './_parts/shell.tsx'

export default function DeckLayout({ children }: { readonly children: ReactNode }) {
  return <Shell>{children}</Shell>
}
