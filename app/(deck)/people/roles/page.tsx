import type { Metadata } from 'next'
import { RolesScreen } from './_parts/roles-screen.tsx'

export const metadata: Metadata = { title: 'Roles' }

export default function RolesPage() {
  return <RolesScreen />
}
