import type { Metadata, Viewport } from 'next'
import localFont from 'next/font/local'
import { cookies, headers } from 'next/headers'
import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { isTheme, LOCALE_COOKIE, NAV_COOKIE, THEME_COOKIE } from '#lib/client/preferences.ts'
import { pickLocale } from '#lib/i18n/locales.ts'
import './globals.css'
import { Providers } from './providers.tsx'

const inter = localFont({
  src: './_fonts/inter-latin-400-600.woff2',
  variable: '--font-inter',
  weight: '400 600',
  display: 'swap',
})

export const metadata: Metadata = {
  title: { template: '%s · Guestdeck', default: 'Guestdeck' },
  applicationName: 'Guestdeck',
  referrer: 'same-origin',
  robots: { index: false, follow: false },
}

export const viewport: Viewport = {
  width: 'device-width',
  initialScale: 1,
  colorScheme: 'light dark',
}

/** Rendered for each request: the nonce of the content security policy, theme and locale belong to the reader. */
export default async function RootLayout({ children }: { readonly children: ReactNode }) {
  await connection()
  const jar = await cookies()
  const theme = jar.get(THEME_COOKIE)?.value
  const locale = pickLocale(jar.get(LOCALE_COOKIE)?.value ?? (await headers()).get('accept-language')?.split(',')[0])
  const nav = jar.get(NAV_COOKIE)?.value === 'narrow' ? 'narrow' : 'wide'
  return (
    <html lang={locale} data-theme={isTheme(theme) ? theme : 'system'} data-nav={nav} className={inter.variable}>
      <body>
        <Providers locale={locale}>{children}</Providers>
      </body>
    </html>
  )
}
