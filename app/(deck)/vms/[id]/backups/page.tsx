import type { Metadata } from 'next'
import { VmBackups } from './_parts/vm-backups.tsx'

export const metadata: Metadata = { title: 'Backups' }

export default function VmBackupsPage() {
  return <VmBackups />
}
