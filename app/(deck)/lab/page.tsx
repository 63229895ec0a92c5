import type { Metadata } from 'next'
import { LeasesScreen } from './_parts/leases-screen.tsx'

export const metadata: Metadata = { title: 'Lab' }

export default function LeasesPage() {
  return <LeasesScreen />
}
