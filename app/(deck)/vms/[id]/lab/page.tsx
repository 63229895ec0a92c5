import type { Metadata } from 'next'
import { VmLabScreen } from './_parts/vm-lab-screen.tsx'

export const metadata: Metadata = { title: 'Lab' }

export default function VmLabPage() {
  return <VmLabScreen />
}
