import type { Metadata } from 'next'
import { RecordingsScreen } from './_parts/recordings-screen.tsx'

export const metadata: Metadata = { title: 'Recordings' }

export default function VmRecordingsPage() {
  return <RecordingsScreen />
}
