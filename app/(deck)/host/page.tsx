import type { Metadata } from 'next'
import { HostScreen } from './_parts/host-screen.tsx'

export const metadata: Metadata = { title: 'Host' }

export default function HostPage() {
  return <HostScreen />
}
