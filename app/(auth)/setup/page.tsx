import type { Metadata } from 'next'
import { SetupForm } from '../_parts/setup-form.tsx'

export const metadata: Metadata = { title: 'Set up' }

export default function SetupPage() {
  return <SetupForm />
}
