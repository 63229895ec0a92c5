import type { Metadata } from 'next'
import { BookingsScreen } from '../_parts/bookings-screen.tsx'

export const metadata: Metadata = { title: 'Bookings' }

export default function BookingsPage() {
  return <BookingsScreen />
}
