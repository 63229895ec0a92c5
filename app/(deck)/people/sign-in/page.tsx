import type { Metadata } from 'next'
import { SignInScreen } from './_parts/sign-in-screen.tsx'

export const metadata: Metadata = { title: 'Ways to sign in' }

export default function SignInPage() {
  return <SignInScreen />
}
