/**
 * The part of ICU MessageFormat the interface uses: `{name}`, `{n, number}`, `plural`, `selectordinal`, `select`
 * (with `=0` cases and `#`), and `<tag>…</tag>` for rich text. Apostrophes are letters here, not quotes.
 *
 * Own code because a page's cold transfer has a budget: the general library costs 12 kB of it, this 1 kB, and both the
 * messages and their arguments are checked by the compiler. Syntax outside this subset throws when parsed, and a test
 * parses every message, so nothing half-understood reaches a page. Grammar: unicode-org/icu, MessageFormat syntax.
 */
export type Node =
  | string
  | { readonly kind: 'argument'; readonly name: string; readonly number: boolean }
  /** The number of the nearest plural around it. */
  | { readonly kind: 'hash' }
  | {
      readonly kind: 'plural' | 'selectordinal' | 'select'
      readonly name: string
      readonly cases: Readonly<Record<string, readonly Node[]>>
    }
  | { readonly kind: 'tag'; readonly name: string; readonly children: readonly Node[] }

const NAME = /[A-Za-z][A-Za-z0-9]*/y
const SELECTOR = /=\d+|[A-Za-z][A-Za-z0-9_-]*/y
const SPACE = /\s*/y

/** Parses a message. @throws SyntaxError with the place, for syntax outside the subset. */
export function parseMessage(text: string): readonly Node[] {
  let at = 0
  const fail = (expected: string): never => {
    throw new SyntaxError(`message "${text}": ${expected} expected at ${at}`)
  }
  const match = (pattern: RegExp, expected: string): string => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0] ?? fail(expected)
    at += found.length
    return found
  }
  const expect = (token: string) => {
    if (!text.startsWith(token, at)) fail(`"${token}"`)
    at += token.length
  }
  const space = () => match(SPACE, 'space')

  const argument = (inPlural: boolean): Node => {
    space()
    const name = match(NAME, 'a name')
    space()
    if (text[at] === '}') {
      at += 1
      return { kind: 'argument', name, number: false }
    }
    expect(',')
    space()
    const type = match(NAME, 'a type')
    space()
    if (type === 'number') {
      expect('}')
      return { kind: 'argument', name, number: true }
    }
    if (type !== 'plural' && type !== 'selectordinal' && type !== 'select') return fail('number, plural or select')
    expect(',')
    const cases: Record<string, readonly Node[]> = {}
    for (space(); text[at] !== '}'; space()) {
      const selector = match(SELECTOR, 'a case')
      space()
      expect('{')
      cases[selector] = nodes(type !== 'select' || inPlural, null)
      expect('}')
    }
    at += 1
    if (!cases.other) fail('a case "other"')
    return { kind: type, name, cases }
  }

  const nodes = (inPlural: boolean, tag: string | null): readonly Node[] => {
    const list: Node[] = []
    let plain = ''
    const push = (node: Node) => {
      if (plain) list.push(plain)
      plain = ''
      list.push(node)
    }
    while (at < text.length) {
      const char = text[at]
      if (char === '}') break
      if (char === '{') {
        at += 1
        push(argument(inPlural))
      } else if (char === '#' && inPlural) {
        at += 1
        push({ kind: 'hash' })
      } else if (char === '<' && text[at + 1] === '/') {
        if (tag !== null) break
        fail('text')
      } else if (char === '<' && /[a-z]/i.test(text[at + 1] ?? '')) {
        at += 1
        const name = match(NAME, 'a tag')
        expect('>')
        const children = nodes(inPlural, name)
        expect(`</${name}>`)
        push({ kind: 'tag', name, children })
      } else {
        plain += char
        at += 1
      }
    }
    if (plain) list.push(plain)
    return list
  }

  const result = nodes(false, null)
  if (at < text.length) fail('text')
  return result
}

export type Values = Readonly<Record<string, string | number>>

const rules = new Map<string, Intl.PluralRules>()
function pluralCase(locale: string, ordinal: boolean, value: number): string {
  const key = `${locale}/${ordinal}`
  let rule = rules.get(key)
  if (!rule) {
    rule = new Intl.PluralRules(locale, { type: ordinal ? 'ordinal' : 'cardinal' })
    rules.set(key, rule)
  }
  return rule.select(value)
}

/**
 * Puts values into a parsed message. `tag` makes what stands for a tag; the pieces come in reading order.
 * A missing value shows as its name in braces: visible, but not fatal.
 */
export function formatNodes<T>(
  nodes: readonly Node[],
  locale: string,
  values: Values,
  tag: (name: string, children: (string | T)[]) => T,
  hash: number | null = null,
): (string | T)[] {
  const out: (string | T)[] = []
  const add = (piece: string | T) => {
    const last = out.at(-1)
    if (typeof piece === 'string' && typeof last === 'string') out[out.length - 1] = last + piece
    else out.push(piece)
  }
  for (const node of nodes) {
    if (typeof node === 'string') add(node)
    else if (node.kind === 'hash') add(hash === null ? '#' : hash.toLocaleString(locale))
    else if (node.kind === 'tag') add(tag(node.name, formatNodes(node.children, locale, values, tag, hash)))
    else {
      const value = values[node.name]
      if (node.kind === 'argument') {
        if (value === undefined) add(`{${node.name}}`)
        else add(node.number && typeof value === 'number' ? value.toLocaleString(locale) : String(value))
        continue
      }
      const counts = node.kind !== 'select' && typeof value === 'number'
      const chosen =
        node.cases[counts ? `=${value}` : String(value)] ??
        (counts ? node.cases[pluralCase(locale, node.kind === 'selectordinal', value)] : undefined) ??
        node.cases.other ??
        []
      for (const piece of formatNodes(chosen, locale, values, tag, counts ? value : hash)) add(piece)
    }
  }
  return out
}

type Bare<S extends string> = S extends `${string} ${string}` | `${string}#${string}` | `${string}<${string}` | ''
  ? never
  : S
type NameAt<S extends string> = S extends `${infer Head}}${string}`
  ? Head extends `${infer Name},${string}`
    ? Bare<Name>
    : Bare<Head>
  : never

/** Names of the arguments of a message, read from its text. A case whose body is one bare word would count as one. */
export type ArgumentNames<S extends string> = S extends `${string}{${infer Rest}`
  ? NameAt<Rest> | ArgumentNames<Rest>
  : never
