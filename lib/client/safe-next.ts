/**
 * Where to go after signing in: a path of this site, never another one. The address bar's `next` is anybody's to write,
 * and `//host` or `/\host` would leave the site.
 */
export function safeNext(next: string | null): string {
  if (next === null || !next.startsWith('/')) return '/'
  const base = 'http://guestdeck.invalid'
  let url: URL
  try {
    url = new URL(next, base)
  } catch {
    return '/'
  }
  if (url.origin !== base || url.pathname === '/login' || url.pathname === '/setup') return '/'
  return `${url.pathname}${url.search}${url.hash}`
}
