import type { Metadata } from 'next'
import { ProjectsScreen } from './_parts/projects-screen.tsx'

export const metadata: Metadata = { title: 'Projects' }

export default function ProjectsPage() {
  return <ProjectsScreen />
}
