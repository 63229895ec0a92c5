import type { Metadata } from 'next'
import { SnapshotsScreen } from './_parts/snapshots-screen.tsx'

export const metadata: Metadata = { title: 'Snapshots' }

export default function VmSnapshotsPage() {
  return <SnapshotsScreen />
}
