import type { Metadata } from 'next'
import { GuestConsole } from './_parts/guest-console.tsx'

export const metadata: Metadata = { title: 'Console' }

export default function GuestPage() {
  return <GuestConsole />
}
