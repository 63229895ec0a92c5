/**
 * What a terminal answers by itself when output asks it (its kind, the cursor's place, its colours, its size), and what
 * output may make it do outside itself (clipboard, window). A viewer must not answer: the guest would read the answer as
 * typed, once per viewer. Nor may old output that is replayed be answered, by anybody.
 */

interface Parser {
  registerCsiHandler(
    id: { prefix?: string; intermediates?: string; final: string },
    handler: () => boolean,
  ): Disposable_
  registerDcsHandler(
    id: { prefix?: string; intermediates?: string; final: string },
    handler: () => boolean,
  ): Disposable_
  registerOscHandler(id: number, handler: (data: string) => boolean): Disposable_
}
interface Disposable_ {
  dispose(): void
}

/** CSI: device attributes, device status, mode requests, window operations, terminal parameters and version. */
const CSI_QUERIES = [
  { final: 'c' },
  { prefix: '>', final: 'c' },
  { prefix: '=', final: 'c' },
  { final: 'n' },
  { prefix: '?', final: 'n' },
  { intermediates: '$', final: 'p' },
  { prefix: '?', intermediates: '$', final: 'p' },
  { final: 't' },
  { final: 'x' },
  { prefix: '>', final: 'q' },
  { prefix: '?', final: 'u' },
] as const
/** DCS: DECRQSS and XTGETTCAP. */
const DCS_QUERIES = [
  { intermediates: '$', final: 'q' },
  { intermediates: '+', final: 'q' },
] as const
/** OSC that asks when its text has a `?`: palette, foreground, background, cursor and selection colours. */
const OSC_QUERIES = [4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19] as const
/**
 * OSC with an effect outside the terminal: clipboard, titles, notifications. And links, which could only lead where a
 * guest wants its reader to go: their text stays.
 */
const OSC_REFUSED = [0, 1, 2, 8, 9, 50, 52, 99, 777, 1337] as const

/** @param mayAnswer asked at the moment a query is parsed */
export function guardAnswers(parser: Parser, mayAnswer: () => boolean): () => void {
  const swallow = () => !mayAnswer()
  const registered = [
    ...CSI_QUERIES.map((id) => parser.registerCsiHandler(id, swallow)),
    ...DCS_QUERIES.map((id) => parser.registerDcsHandler(id, swallow)),
    ...OSC_QUERIES.map((id) => parser.registerOscHandler(id, (text) => text.includes('?') && swallow())),
    ...OSC_REFUSED.map((id) => parser.registerOscHandler(id, () => true)),
  ]
  return () => {
    for (const handler of registered) handler.dispose()
  }
}
