'use client'
/** Binds the pure catalogues of `lib/i18n` to React. */
import { createContext, type ReactNode, useContext, useMemo } from 'react'
import { createTranslator } from 'use-intl/core'
import type { Catalogue, Messages } from '#lib/i18n/define.ts'
import { DEFAULT_LOCALE, type Locale } from '#lib/i18n/locales.ts'

interface LocaleContext {
  readonly locale: Locale
  /** Namespaces of another locale, by name. Missing ones fall back to English. */
  readonly overrides: Readonly<Record<string, Messages>>
}
const Context = createContext<LocaleContext>({ locale: DEFAULT_LOCALE, overrides: {} })

export function LocaleProvider({ locale, overrides, children }: LocaleContext & { children: ReactNode }) {
  const value = useMemo(() => ({ locale, overrides }), [locale, overrides])
  return <Context value={value}>{children}</Context>
}

export const useLocale = () => useContext(Context).locale

const cache = new Map<string, unknown>()

/**
 * Translator of one namespace: `const t = useT(vms)`, then `t('title')` or `t('count', { count })`.
 * Keys and arguments are checked by the compiler. The function is stable across renders.
 */
export function useT<const M extends Messages>(catalogue: Catalogue<M>): ReturnType<typeof createTranslator<M, never>> {
  const { locale, overrides } = useContext(Context)
  return translatorFor(catalogue, locale, overrides)
}

/** The same outside a component, for the default locale. */
export function translatorFor<const M extends Messages>(
  catalogue: Catalogue<M>,
  locale: Locale = DEFAULT_LOCALE,
  overrides: Readonly<Record<string, Messages>> = {},
): ReturnType<typeof createTranslator<M, never>> {
  type Translator = ReturnType<typeof createTranslator<M, never>>
  const key = `${locale}/${catalogue.namespace}`
  const known = cache.get(key)
  // The cache is keyed by namespace, which determines M.
  if (known) return known as Translator
  const messages = { ...catalogue.messages, ...overrides[catalogue.namespace] }
  const made = createTranslator<M, never>({ locale, messages: messages as M, timeZone: 'UTC' })
  cache.set(key, made)
  return made
}
