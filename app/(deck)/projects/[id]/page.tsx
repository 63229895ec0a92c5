import type { Metadata } from 'next'
import { ProjectScreen } from './_parts/project-screen.tsx'

export const metadata: Metadata = { title: 'Project' }

export default async function ProjectPage({ params }: { readonly params: Promise<{ id: string }> }) {
  const { id } = await params
  return <ProjectScreen id={id} />
}
