import type { Metadata } from 'next'
import { StorageScreen } from './_parts/storage-screen.tsx'

export const metadata: Metadata = { title: 'Storage' }

export default function StoragePage() {
  return <StorageScreen />
}
