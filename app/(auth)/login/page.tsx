import type { Metadata } from 'next'
import { LoginForm } from '../_parts/login-form.tsx'

export const metadata: Metadata = { title: 'Sign in' }

export default async function LoginPage({
  searchParams,
}: {
  readonly searchParams: Promise<{ next?: string | string[] }>
}) {
  const { next } = await searchParams
  return <LoginForm next={typeof next === 'string' ? next : null} />
}
