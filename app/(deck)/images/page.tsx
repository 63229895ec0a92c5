import type { Metadata } from 'next'
import { ImagesScreen } from './_parts/images-screen.tsx'

export const metadata: Metadata = { title: 'Images' }

export default function ImagesPage() {
  return <ImagesScreen />
}
