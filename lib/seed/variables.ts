/** Variables in seeds: {name}, {index}, {hostname} and {mac0}…{mac7}; so that one text serves several VMs. */

export interface SeedVariables {
  /** The VM's name. */
  readonly name: string
  /** Of several made at once, from 1. */
  readonly index: number
  readonly hostName: string
  /** Addresses of the network cards, in the definition's order. */
  readonly macs: readonly string[]
}

/** Not `${name}`, which is a shell's, and not `{{ name }}`, which is a template's. Unknown words stay as they are. */
const VARIABLE = /(?<![${])\{(name|index|hostname|mac[0-7])\}(?!\})/g

export function expandVariables(text: string, { name, index, hostName, macs }: SeedVariables): string {
  return text.replace(VARIABLE, (whole, word: string) => {
    if (word === 'name') return name
    if (word === 'index') return String(index)
    if (word === 'hostname') return hostName
    return macs[Number(word.slice(3))] ?? whole
  })
}

/**
 * A name that hosts may have (RFC 1123): letters of other scripts and what else a VM's name may hold become dashes.
 * @param pattern null: the VM's name
 */
export function hostNameOf(pattern: string | null, name: string, index: number): string {
  const wanted = expandVariables(pattern ?? '{name}', { name, index, hostName: '', macs: [] })
  const labels = wanted
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .split('.')
    .map((label) => label.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-+|-+$/g, ''))
    .map((label) => label.slice(0, 63).replace(/-+$/, ''))
    .filter((label) => label !== '')
  return labels.join('.').slice(0, 253).toLowerCase() || 'guest'
}
