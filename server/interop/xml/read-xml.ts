/**
 * Reads XML that somebody else wrote into plain objects. A document type is refused before the parser sees the text, so
 * that entities (billion laughs, external files) cannot even be declared; network and external entities are off
 * besides; size, depth and number of elements are bounded.
 */
import { ParseOption, XmlDocument, XmlElement } from 'libxml2-wasm'
import { EngineError } from '#server/engine/errors.ts'

export interface XmlNode {
  /** Without its prefix. */
  readonly name: string
  readonly namespace: string
  /** By local name; of two with the same, the one without a namespace wins. */
  readonly attributes: ReadonlyMap<string, string>
  readonly children: readonly XmlNode[]
  /** Trimmed, at most 4096 characters; empty when there are elements below. */
  readonly text: string
}

export const MAX_XML_BYTES = 2 ** 20
const MAX_ELEMENTS = 20_000
const MAX_DEPTH = 64
const MAX_TEXT = 4096

const refuse = (code: 'dtd_forbidden' | 'import_refused', message: string): never => {
  throw new EngineError(code, message)
}

/** @param what begins the sentences, for example "The OVF description" @throws EngineError dtd_forbidden, import_refused */
export function readXml(bytes: Uint8Array, what: string): XmlNode {
  if (bytes.length > MAX_XML_BYTES) refuse('import_refused', `${what} is larger than 1 MiB.`)
  // Any other encoding could hide a document type from the search below.
  if (bytes.includes(0)) refuse('import_refused', `${what} is not UTF-8 text.`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return refuse('import_refused', `${what} is not UTF-8 text.`)
  }
  if (/<!\s*(DOCTYPE|ENTITY)/i.test(text)) {
    refuse('dtd_forbidden', `${what} declares a document type (DOCTYPE), which is never read. Remove it.`)
  }
  const encoding = /^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([^"']{1,40})["']/i.exec(text)?.[1]
  if (encoding !== undefined && !/^(utf-?8|us-ascii|ascii)$/i.test(encoding)) {
    refuse('import_refused', `${what} says that it is encoded as ${encoding}; only UTF-8 is taken.`)
  }
  let document: XmlDocument
  try {
    document = XmlDocument.fromBuffer(bytes, {
      option: ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NO_XXE | ParseOption.XML_PARSE_NOCDATA,
    })
  } catch (error) {
    throw new EngineError('import_refused', `${what} is not well-formed XML.`, { cause: error })
  }
  try {
    const count = { left: MAX_ELEMENTS }
    return copy(document.root, 0, count, what)
  } finally {
    document.dispose()
  }
}

function copy(element: XmlElement, depth: number, count: { left: number }, what: string): XmlNode {
  if (depth > MAX_DEPTH) refuse('import_refused', `${what} is nested too deeply.`)
  count.left -= 1
  if (count.left < 0) refuse('import_refused', `${what} has too many elements.`)
  const attributes = new Map<string, string>()
  for (const attribute of element.attrs) {
    if (!attributes.has(attribute.name) || attribute.prefix === '') {
      attributes.set(attribute.name, attribute.content.slice(0, MAX_TEXT))
    }
  }
  const children: XmlNode[] = []
  for (let node = element.firstChild; node !== null; node = node.next) {
    if (node instanceof XmlElement) children.push(copy(node, depth + 1, count, what))
  }
  return {
    name: element.name,
    namespace: element.namespaceUri,
    attributes,
    children,
    // Of a container the text of everything below is of no use to anybody.
    text: children.length === 0 ? element.content.trim().slice(0, MAX_TEXT) : '',
  }
}

export const childrenOf = (node: XmlNode, name: string): readonly XmlNode[] =>
  node.children.filter((child) => child.name === name)
export const childOf = (node: XmlNode | undefined, name: string): XmlNode | undefined =>
  node?.children.find((child) => child.name === name)
/** Text of a child; undefined when there is none or it is empty. */
export const textOf = (node: XmlNode | undefined, name: string): string | undefined =>
  childOf(node, name)?.text || undefined
