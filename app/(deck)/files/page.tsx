import type { Metadata } from 'next'
import { FilesScreen } from './_parts/files-screen.tsx'

export const metadata: Metadata = { title: 'Files' }

export default function FilesPage() {
  return <FilesScreen />
}
