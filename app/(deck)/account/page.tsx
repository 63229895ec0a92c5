import type { Metadata } from 'next'
import { AccountScreen } from './_parts/account-screen.tsx'

export const metadata: Metadata = { title: 'Your account' }

export default function AccountPage() {
  return <AccountScreen />
}
