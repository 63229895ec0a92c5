/**
 * What a reader prefers, kept in cookies where the server needs it for the first paint (theme, locale, navigation)
 * and in localStorage where only this browser does (columns, view).
 */
export const THEMES = ['system', 'dark', 'light'] as const
export type Theme = (typeof THEMES)[number]

export const THEME_COOKIE = 'guestdeck_theme'
export const LOCALE_COOKIE = 'guestdeck_locale'
export const NAV_COOKIE = 'guestdeck_nav'

export const isTheme = (value: unknown): value is Theme => THEMES.some((theme) => theme === value)

const YEAR_SECONDS = 31_536_000
// The Cookie Store API is not everywhere yet; document.cookie is.
const setCookie = (name: string, value: string) => {
  // biome-ignore lint/suspicious/noDocumentCookie: see above
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR_SECONDS}; samesite=lax`
}

/** Applies the theme at once and remembers it for the server's next page. */
export function setTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme
  setCookie(THEME_COOKIE, theme)
}

export const currentTheme = (): Theme => {
  const theme = document.documentElement.dataset.theme
  return isTheme(theme) ? theme : 'system'
}

/** Narrow or wide navigation. */
export function setNavCollapsed(collapsed: boolean): void {
  document.documentElement.dataset.nav = collapsed ? 'narrow' : 'wide'
  setCookie(NAV_COOKIE, collapsed ? 'narrow' : 'wide')
}

/** A remembered value; null when absent, unreadable or refused by `parse`. */
export function recall<T>(key: string, parse: (value: unknown) => T | null): T | null {
  try {
    const text = localStorage.getItem(`guestdeck.${key}`)
    return text === null ? null : parse(JSON.parse(text))
  } catch {
    return null
  }
}

export function remember(key: string, value: unknown): void {
  try {
    localStorage.setItem(`guestdeck.${key}`, JSON.stringify(value))
  } catch {
    // Storage full or forbidden: the preference lasts for this page only.
  }
}
