import type { Metadata } from 'next'
import { PowerScreen } from '../_parts/power-screen.tsx'

export const metadata: Metadata = { title: 'Power times' }

export default function PowerPage() {
  return <PowerScreen />
}
