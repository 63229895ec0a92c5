import type { Metadata } from 'next'
import type { ReactNode } from 'react'
import { VmFrame } from './_parts/vm-frame.tsx'

export const metadata: Metadata = { title: 'Virtual machine' }

export default async function VmLayout({
  params,
  children,
}: {
  readonly params: Promise<{ id: string }>
  readonly children: ReactNode
}) {
  const { id } = await params
  return <VmFrame id={id}>{children}</VmFrame>
}
