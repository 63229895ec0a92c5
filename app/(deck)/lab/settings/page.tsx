import type { Metadata } from 'next'
import { SettingsScreen } from '../_parts/settings-screen.tsx'

export const metadata: Metadata = { title: 'Lab settings' }

export default function SettingsPage() {
  return <SettingsScreen />
}
