import type { Metadata } from 'next'
import { preload } from 'react-dom'
import { VmListScreen } from './_parts/vm-list-screen.tsx'

export const metadata: Metadata = { title: 'Virtual machines' }

export default function VmsPage() {
  // The list starts to travel with the page's scripts instead of after them.
  preload('/api/v1/vms', { as: 'fetch', crossOrigin: 'anonymous' })
  return <VmListScreen />
}
