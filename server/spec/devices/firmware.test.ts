/** What people write into SMBIOS strings and kernel command lines stays a value, whatever it holds. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { compile } from '../compile.ts'
import { normalizeSpec } from '../normalize.ts'
import { capabilitiesOf, compileInput, factsFor } from '../test-support.ts'

const capabilities = capabilitiesOf('7.2')

/** As QEMU splits such an option: at commas, of which two stand for one (`get_opt_value`, util/qemu-option.c). */
function parseOptions(text: string): [name: string, value: string][] {
  return splitAtCommas(text).map((part) => {
    const at = part.indexOf('=')
    return [part.slice(0, at), part.slice(at + 1)]
  })
}

function splitAtCommas(text: string): string[] {
  const parts: string[] = []
  let part = ''
  for (let n = 0; n < text.length; n += 1) {
    if (text[n] !== ',') part += text[n]
    else if (text[n + 1] === ',') {
      part += ','
      n += 1
    } else {
      parts.push(part)
      part = ''
    }
  }
  return [...parts, part]
}

function argsOf(spec: object): string[][] {
  const parsed = VmSpecInput.parse({ name: 'demo', ...spec })
  const result = compile(compileInput(normalizeSpec(parsed, factsFor(capabilities)), capabilities))
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.plan.options.map((option) => [...option.argv])
}

const nasty = fc.constantFrom(
  ',',
  ',,',
  'a,file=/etc/passwd',
  ',type=0',
  '=',
  'path=/etc/shadow',
  ' ',
  "'",
  '"',
  '\\',
  '-S',
)
const text = fc
  .oneof(
    nasty,
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    fc.tuple(nasty, nasty).map((pair) => pair.join('')),
  )
  .filter((value) => /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u.test(value) && value.length <= 128)

describe('free text of the firmware', () => {
  it('SMBIOS strings come out of QEMU’s parser as they went in', () => {
    fc.assert(
      fc.property(
        fc.record({ manufacturer: text, product: fc.option(text), serial: text }),
        fc.array(
          text.filter((value) => value.length > 0),
          { minLength: 1, maxLength: 4 },
        ),
        ({ manufacturer, product, serial }, oemStrings) => {
          const smbios = { manufacturer, product, version: null, serial, sku: null, family: null, oemStrings }
          const options = argsOf({ smbios }).filter(([flag]) => flag === '-smbios')
          expect(options.map(([, value]) => parseOptions(value ?? ''))).toEqual([
            [
              ['type', '1'],
              ['manufacturer', manufacturer],
              ...(product === null ? [] : [['product', product]]),
              ['serial', serial],
            ],
            [['type', '11'], ...oemStrings.map((value) => ['value', value])],
          ])
        },
      ),
      { numRuns: 300 },
    )
  })

  it('kernel, initial file system and command line are arguments of their own', () => {
    const ascii = fc.stringMatching(/^[\x20-\x7e]{1,60}$/)
    fc.assert(
      fc.property(ascii, ascii, ascii, (kernel, initrd, commandLine) => {
        const directKernel = { kernel: `/${kernel}`, initrd: `/${initrd}`, commandLine }
        const args = argsOf({ directKernel })
        expect(args.filter(([flag]) => ['-kernel', '-initrd', '-append'].includes(flag ?? ''))).toEqual([
          ['-kernel', `/${kernel}`],
          ['-initrd', `/${initrd}`],
          ['-append', commandLine],
        ])
      }),
      { numRuns: 100 },
    )
  })

  it('control characters, relative paths and other alphabets’ tricks are refused before', () => {
    const refused = (spec: object) => VmSpecInput.safeParse({ name: 'demo', ...spec }).success === false
    const smbios = (manufacturer: string) => ({
      smbios: { manufacturer, product: null, version: null, serial: null, sku: null, family: null, oemStrings: [] },
    })
    for (const bad of ['a\nb', 'a\0b', '\u202eabc', '\u200b']) expect(refused(smbios(bad)), bad).toBe(true)
    for (const kernel of ['vmlinuz', '', '/a\nb', '/a\0b'])
      expect(refused({ directKernel: { kernel, initrd: null, commandLine: '' } }), kernel).toBe(true)
    expect(refused({ directKernel: { kernel: '/k', initrd: null, commandLine: 'a\nb' } })).toBe(true)
    expect(refused({ cpuFlags: [{ name: 'x,+y', enabled: true }] })).toBe(true)
    expect(refused({ cpuModel: 'max,enforce' })).toBe(true)
    expect(refused({ numa: [{ cpus: '0,memdev=x', memoryMiB: 16, hostNodes: null }] })).toBe(true)
  })
})
