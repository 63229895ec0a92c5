/** Locales of the interface. English is complete by construction; others may replace some namespaces. */
export const LOCALES = ['en'] as const
export type Locale = (typeof LOCALES)[number]
export const DEFAULT_LOCALE: Locale = 'en'

/** The supported locale nearest to a wish (cookie or `Accept-Language` tag); the default when none is. */
export function pickLocale(wish: string | undefined): Locale {
  const language = wish?.toLowerCase().split('-')[0]
  return LOCALES.find((locale) => locale === language) ?? DEFAULT_LOCALE
}
