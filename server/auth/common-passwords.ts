/**
 * Passwords that are long enough and yet among the first anybody tries. A short list of what such passwords are made of
 * does more than a long list of them: whatever is left after one of these words, the name and the usual ornaments have
 * been taken out must still be something.
 */

/** What people make long passwords of when they are told "ten characters". Longest first where one holds another. */
const WORDS = [
  'administrator',
  'guestdeck',
  'letmein',
  'welcome',
  'password',
  'passwort',
  'passwd',
  'iloveyou',
  'qwertyuiop',
  'qwertzuiop',
  'asdfghjkl',
  'zxcvbnm',
  'qwerty',
  'qwertz',
  'azerty',
  'asdfgh',
  '1q2w3e4r5t',
  '1q2w3e4r',
  '1qaz2wsx3edc',
  '1qaz2wsx',
  'changeme',
  'default',
  'secret',
  'sunshine',
  'princess',
  'football',
  'baseball',
  'superman',
  'batman',
  'dragon',
  'monkey',
  'master',
  'trustno',
  'hello',
  'login',
  'admin',
  'root',
  'test',
  'user',
  'guest',
  'server',
  'virtual',
  'machine',
  'proxmox',
  'vmware',
  'qemu',
  'kvm',
  'lab',
  'spring',
  'summer',
  'autumn',
  'winter',
  'january',
  'monday',
  'company',
  'my',
  'the',
  'is',
  'abc',
  'pass',
] as const

/** How much must be left that is none of the above. */
const REST_MIN = 5
const LOOKALIKES: Readonly<Record<string, string>> = {
  '@': 'a',
  '4': 'a',
  '3': 'e',
  '1': 'i',
  '!': 'i',
  '0': 'o',
  $: 's',
  '5': 's',
  '7': 't',
}

const plain = (text: string) => text.replace(/[@431!0$57]/g, (character) => LOOKALIKES[character] ?? character)

/** Runs like 123456, 987654, abcdef or aaaa, which add nothing. */
function withoutRuns(text: string): string {
  let out = ''
  let index = 0
  while (index < text.length) {
    let end = index + 1
    const step = (text.charCodeAt(end) || 0) - text.charCodeAt(index)
    if (Math.abs(step) <= 1) while (text.charCodeAt(end) - text.charCodeAt(end - 1) === step) end += 1
    // Two neighbours are in every word; three or more are a run.
    if (end - index < 3) end = index + 1
    if (end === index + 1) out += text[index]
    index = end
  }
  return out
}

const without = (text: string, words: readonly string[]) =>
  words.reduce((left, word) => (word === '' ? left : left.replaceAll(word, ' ')), text)

/** @param name whose password it is to be */
export function isCommonPassword(password: string, name: string): boolean {
  const lower = password.toLowerCase()
  // The same few characters over and over.
  if (new Set(lower).size < 5) return true
  return [lower, plain(lower)].some((text) => {
    const rest = withoutRuns(without(text, [name, ...WORDS])).replace(/[^a-z\u0080-\uffff]/g, '')
    return rest.length < REST_MIN && !hasMuchElse(lower)
  })
}

/** Random digits and signs are no word and yet no common password: those of a generator have many different ones. */
function hasMuchElse(text: string): boolean {
  const other = withoutRuns(without(text, WORDS)).replace(/[a-z\s]/g, '')
  const years = other.replace(/(?:19|20)\d\d/g, '')
  return new Set(years).size >= 6
}
