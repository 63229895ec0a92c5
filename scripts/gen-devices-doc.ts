/**
 * Writes docs/devices.md: every family of devices with its choices and fields, from the catalogue, its English words,
 * the schema, the rules of live changes and the tests that show each choice. With `--check` changes nothing and exits 1
 * when it would differ.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as z from 'zod'
import {
  type Choice,
  type ChoiceKind,
  FAMILIES,
  type Family,
  type FamilyId,
  familyOf,
  GROUPS,
  type Group,
} from '#lib/devices/catalogue.ts'
import { fieldsOf, type SpecField } from '#lib/devices/fields.ts'
import { type ChoiceWords, familyWords } from '#lib/devices/words.ts'
import { VmSpec } from '#lib/schema/vm-spec.ts'
import { DEVICE_LISTS } from '#lib/vm/live-places.ts'
import { ABSENT, EVIDENCE, type Proof, type Witness } from './devices-doc/evidence.ts'
import { type LiveKind, liveOf, pluggable } from './devices-doc/live.ts'
import { writeAttackCases } from './gen-attack-cases.ts'

const FILE = join(import.meta.dirname, '../docs/devices.md')

const GROUP_TITLES: Readonly<Record<Group, string>> = {
  platform: 'Mainboard, firmware, CPU, memory',
  storage: 'Drives',
  network: 'Network cards',
  screen: 'Screen, input, sound, USB',
  bus: 'Channels, shares, devices of the host, raw options',
}
const KIND: Readonly<Record<ChoiceKind, string>> = {
  paravirtual: 'paravirtual',
  emulated: 'emulated',
  passthrough: 'passed through',
  none: 'none',
  setting: 'setting',
}
const LIVE: Readonly<Record<LiveKind, string>> = {
  'at-once': 'at once',
  device: 'with its device',
  'next-start': 'next start',
  dashboard: 'at once (dashboard only)',
}
const WITNESS: Readonly<Record<Witness, string>> = {
  guest: 'guest',
  qemu: 'QEMU',
  plan: 'command line',
  refusal: 'refusal',
}

const INTRO = `# Devices

Made from the code by \`npm run gen:devices\`; edits here are lost. What each choice means is said in the same words as on
the devices page.

- **Kind.** *Paravirtual* devices are made for virtual machines: fast, and the guest needs drivers (virtio). *Emulated*
  ones behave like real hardware. *Passed through* belongs to the host. A *setting* is no device.
- **Take for.** Guests that get this choice when nothing is said, or that should.
- **Running guest.** *At once*: changes while the guest runs. *With its device*: comes with a device that is plugged in;
  on one that is there it waits. *Next start*: shown as pending until the guest was powered off. For choices of devices in
  lists it says whether one can be plugged in.
- **Shown by.** A test in which a booted *guest* reports the choice, or *QEMU* does when asked; for what no guest can see,
  one of the *command line* and the rules before it; *refusal* where the hardware is
  [not on the test machines](#not-on-the-test-machines).
- Fields marked ∅ may be null, which leaves the choice to QEMU or switches the thing off.
- Properties beyond these fields are those the installed QEMU lists (\`device-list-properties\`), with its types, defaults
  and ranges: the devices page shows them, the field \`properties\` takes them.
`

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const row = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [row(head), `|${'---|'.repeat(head.length)}`, ...rows.map(row)].join('\n')
const code = (text: string) => `\`${text}\``

/** `server/spec/bus.int.test.ts` as a link with the title. */
const shown = ({ by, file, title }: Proof) => `${WITNESS[by]}: [${basename(file)}](../${file}) “${title}”`

/** Those of the choice itself, otherwise those of its whole family. */
export function proofsOf(id: FamilyId, choice: string): readonly Proof[] {
  const evidence = EVIDENCE[id]
  return evidence[choice] ?? evidence['*'] ?? []
}

/** `integer, 1 to 255`, `true or false`, `a, b or c`, `text up to 64 characters`. */
function typeText({ schema, values }: SpecField): string {
  if (values !== null) return values.map(code).join(', ')
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  const { type, minimum, maximum, multipleOf, maxLength, pattern, maxItems, anyOf } = json
  if (type === 'boolean') return 'true or false'
  if (type === 'integer' || type === 'number') {
    const step = multipleOf === undefined ? '' : `, in steps of ${multipleOf}`
    const isOpen = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
    return `${type}, ${isOpen ? `from ${minimum}` : `${minimum} to ${maximum}`}${step}`
  }
  if (type === 'array') return `list, up to ${maxItems}`
  if (type === 'object') return 'by device id: name and value of each property'
  if (anyOf !== undefined) return 'versioned machine type, or `q35`, `pc`'
  const length = maxLength === undefined ? 'text' : `text up to ${maxLength} characters`
  if (pattern === undefined) return length
  // What the API says to what does not match, where that is a sentence of ours.
  const said = schema.safeParse('\u0000').error?.issues.find((issue) => issue.code === 'invalid_format')?.message ?? ''
  return `${length}: ${said === '' || said.startsWith('Invalid') ? code(pattern) : said}`
}

function liveText(field: SpecField): string {
  const { kind, only } = liveOf(field)
  return only === null ? LIVE[kind] : `${LIVE[kind]} (${code(only)})`
}

const listOf = (path: string) => DEVICE_LISTS.find((list) => path.startsWith(`${list}[].`))

/** Whether one of this choice can be plugged into a running guest; null when that is no question. */
function plugText(id: FamilyId, field: string, value: string): string | null {
  const list = listOf(field)
  const member = field.split('.').at(-1) ?? ''
  if (list === undefined || !['device', 'bus', 'model', 'driver', 'type'].includes(member)) return null
  const drive = id === 'diskBus' || id === 'drive' ? 'disk' : 'cdrom'
  const difference =
    list === 'disks' ? { device: drive, ...(id === 'drive' ? {} : { [member]: value }) } : { [member]: value }
  return pluggable(list, difference) ? LIVE['at-once'] : LIVE['next-start']
}

function choiceRow(id: FamilyId, family: Family, [value, choice]: [string, Choice], plugs: boolean): string[] {
  const words = familyWords(id).choices?.[value] as ChoiceWords
  const [field = ''] = family.fields
  return [
    `**${words.name}**${value === 'on' ? '' : ` ${code(value)}`}: ${words.what}`,
    [KIND[choice.kind], choice.types.map(code).join(', ')].filter((text) => text !== '').join(': '),
    words.needs ?? '',
    words.cost ?? '',
    choice.best.length === 4 ? 'every guest' : choice.best.join(', '),
    ...(plugs ? [plugText(id, field, value) ?? ''] : []),
    proofsOf(id, value).map(shown).join('; '),
  ]
}

function familyText(id: FamilyId, fields: ReadonlyMap<string, readonly SpecField[]>): string {
  const family = familyOf(id)
  const words = familyWords(id)
  const who = family.who === 'administrator' ? ' Administrators only.' : ''
  const parts = [`### ${words.name}`, `${words.what}${who}`]
  const choices = Object.entries(family.choices ?? {})
  if (choices.length > 0) {
    const plugs = choices.some(([value]) => plugText(id, family.fields[0] ?? '', value) !== null)
    const head = ['Choice', 'Kind', 'Needs', 'Costs', 'Take for', ...(plugs ? ['Running guest'] : []), 'Shown by']
    parts.push(
      table(
        head,
        choices.map((choice) => choiceRow(id, family, choice, plugs)),
      ),
    )
  }
  parts.push(
    table(
      ['Field', 'Values', 'Running guest'],
      family.fields.map((path) => {
        const members = fields.get(path) ?? []
        const texts = [...new Set(members.map(typeText))]
        const [first] = members
        const optional = members.some(({ nullable }) => nullable) ? ' ∅' : ''
        return [code(path) + optional, texts.join('; '), first === undefined ? '' : liveText(first)]
      }),
    ),
  )
  if (choices.length === 0) parts.push(`Shown by ${proofsOf(id, '*').map(shown).join('; ')}.`)
  return parts.join('\n\n')
}

/** Choices that no test machine has the hardware for, so that only refusals could be seen. */
function absentText(): string {
  const rows = (Object.keys(FAMILIES) as FamilyId[]).flatMap((id) =>
    Object.keys(familyOf(id).choices ?? {}).flatMap((value) => {
      const proofs = proofsOf(id, value)
      const words = familyWords(id)
      const choice = words.choices?.[value]
      return proofs.some(({ by }) => by === 'refusal')
        ? [[`${words.name}: ${choice?.name ?? value}`, choice?.needs ?? '', proofs.map(shown).join('; ')]]
        : []
    }),
  )
  return [
    '## Not on the test machines',
    [
      'No machine the tests run on has KVM that works, an IOMMU, USB or PCI devices to give away, vhost devices or pools of',
      'huge pages. For these the tests go as far as the refusal of QEMU, of the kernel or of the dashboard; that they work',
      'where the hardware is there has not been tried.',
    ].join('\n'),
    table(
      ['Choice', 'Needs', 'Tested up to'],
      [...rows, ...ABSENT.map(({ what, proofs }) => [what, 'KVM.', proofs.map(shown).join('; ')])],
    ),
  ].join('\n\n')
}

export function devicesDoc(): string {
  const fields = Map.groupBy(fieldsOf(VmSpec), ({ path }) => path)
  const ids = Object.keys(FAMILIES) as FamilyId[]
  const groups = GROUPS.map((group) =>
    [
      `## ${GROUP_TITLES[group]}`,
      ...ids.filter((id) => familyOf(id).group === group).map((id) => familyText(id, fields)),
    ].join('\n\n'),
  )
  return `${[INTRO.trimEnd(), ...groups, absentText()].join('\n\n')}\n`
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const text = devicesDoc()
  if (!process.argv.includes('--check')) {
    writeFileSync(FILE, text)
    // Titles of tests change with the code as devices do.
    writeAttackCases(false)
    console.log(`gen-devices-doc: wrote ${FILE}`)
  } else if (readFileSync(FILE, 'utf8') !== text) {
    console.error('gen-devices-doc: docs/devices.md differs from the code. Run: npm run gen:devices')
    process.exitCode = 1
  }
}
