import type { Metadata } from 'next'
import { create } from '#lib/i18n/messages/en/create.ts'
import { CreateScreen } from './_parts/create-screen.tsx'

export const metadata: Metadata = { title: create.messages.title }

export default function NewVmPage() {
  return <CreateScreen />
}
