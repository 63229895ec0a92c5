'use client'
/** Binds the pure catalogues of `lib/i18n` to React. */
import { createContext, createElement, Fragment, type ReactNode, useContext, useMemo } from 'react'
import type { Catalogue, Messages } from '#lib/i18n/define.ts'
import { type ArgumentNames, formatNodes, type Node, parseMessage, type Values } from '#lib/i18n/icu.ts'
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

/** Dotted keys of all texts of a catalogue. */
type Keys<M> = { [K in keyof M & string]: M[K] extends string ? K : `${K}.${Keys<M[K]>}` }[keyof M & string]
type TextAt<M, K> = K extends keyof M
  ? M[K] extends string
    ? M[K]
    : never
  : K extends `${infer Head}.${infer Rest}`
    ? Head extends keyof M
      ? TextAt<M[Head], Rest>
      : never
    : never
type Arguments<S> = S extends string ? { readonly [N in ArgumentNames<S>]: string | number } : never
/** All arguments of all texts a key may stand for; none at all when no text has any. */
type Parameters<S> = [S extends string ? ArgumentNames<S> : never] extends [never]
  ? []
  : [
      values: (S extends string ? (given: Arguments<S>) => void : never) extends (given: infer All) => void
        ? All
        : never,
    ]

type Tags = Readonly<Record<string, (children: ReactNode) => ReactNode>>

export interface Translator<M> {
  <K extends Keys<M>>(key: K, ...values: Parameters<TextAt<M, K>>): string
  /** With `<tag>…</tag>`: `t.rich('since', { time: (children) => <b>{children}</b> })`. */
  rich<K extends Keys<M>>(key: K, tags: Tags, ...values: Parameters<TextAt<M, K>>): ReactNode
}

const translators = new Map<string, unknown>()

/**
 * Translator of one namespace: `const t = useT(vms)`, then `t('title')` or `t('count', { count })`.
 * Keys and arguments are checked by the compiler. The function is stable across renders.
 */
export function useT<const M extends Messages>(catalogue: Catalogue<M>): Translator<M> {
  const { locale, overrides } = useContext(Context)
  return translatorFor(catalogue, locale, overrides)
}

const textAt = (messages: Messages | undefined, path: readonly string[]): string | undefined => {
  let node: string | Messages | undefined = messages
  for (const step of path) {
    if (typeof node !== 'object') return undefined
    node = node[step]
  }
  return typeof node === 'string' ? node : undefined
}

/** The same outside a component, for the default locale unless another is given. */
function translatorFor<const M extends Messages>(
  catalogue: Catalogue<M>,
  locale: Locale = DEFAULT_LOCALE,
  overrides: Readonly<Record<string, Messages>> = {},
): Translator<M> {
  const id = `${locale}/${catalogue.namespace}`
  const known = translators.get(id)
  // Filed by namespace, which determines M.
  if (known) return known as Translator<M>
  const parsed = new Map<string, readonly Node[]>()
  const nodesOf = (key: string): readonly Node[] => {
    let nodes = parsed.get(key)
    if (!nodes) {
      const path = key.split('.')
      // A key the catalogue lacks cannot compile; shown as itself it would at least be findable.
      nodes = parseMessage(textAt(overrides[catalogue.namespace], path) ?? textAt(catalogue.messages, path) ?? key)
      parsed.set(key, nodes)
    }
    return nodes
  }
  const plain = (key: string, values: Values = {}) =>
    formatNodes<string>(nodesOf(key), locale, values, (_, children) => children.join('')).join('')
  // Spread as arguments, children need no keys: their places are fixed by the message.
  const join = (children: readonly ReactNode[]) => createElement(Fragment, null, ...children)
  const rich = (key: string, tags: Tags, values: Values = {}): ReactNode =>
    join(
      formatNodes<ReactNode>(nodesOf(key), locale, values, (name, children) => {
        const inner = join(children)
        return tags[name] ? tags[name](inner) : inner
      }),
    )
  // Checked by the type at every call; inside, keys and values are plain text.
  const made = Object.assign(plain, { rich }) as unknown as Translator<M>
  translators.set(id, made)
  return made
}
