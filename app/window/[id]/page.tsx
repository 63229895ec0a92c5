import type { Metadata } from 'next'
import { ConsoleWindow } from './_parts/console-window.tsx'

export const metadata: Metadata = { title: 'Console' }

export default async function ConsoleWindowPage({ params }: { readonly params: Promise<{ id: string }> }) {
  const { id } = await params
  return <ConsoleWindow id={id} />
}
