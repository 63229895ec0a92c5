/** Where to go after the detour to an OpenID provider: remembered in this tab alone. */
const KEY = 'guestdeck.next'

export function rememberNext(path: string): void {
  sessionStorage.setItem(KEY, path)
}

export function takeNext(): string | null {
  const path = sessionStorage.getItem(KEY)
  sessionStorage.removeItem(KEY)
  return path
}
