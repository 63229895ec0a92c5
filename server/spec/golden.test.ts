/** Argv is an ABI: see `__golden__/README.md`. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import type { QemuCapabilities } from '#server/capabilities/types.ts'
import { EngineError } from '#server/engine/errors.ts'
import { compile } from './compile.ts'
import { normalizeSpec } from './normalize.ts'
import { quoteWord, toShell } from './shell.ts'
import { capturedCapabilities, compileInput, factsFor } from './test-support.ts'

const dir = fileURLToPath(new URL('./__golden__/', import.meta.url))
const update = process.env.UPDATE_GOLDEN === '1'

const Case = z.strictObject({
  about: z.string(),
  spec: VmSpecInput,
  accelerator: z.enum(['kvm', 'tcg']),
  user: z.strictObject({ uid: z.int(), gid: z.int(), groups: z.array(z.int()) }).nullable(),
  runDir: z.string().optional(),
  dataDir: z.string().optional(),
  /** QEMUs that cannot have this guest; their golden file is the refusal, field by field. */
  refusedBy: z.array(z.string()).default([]),
})

type Case = z.output<typeof Case>

const Several = z.object({ problems: z.array(z.object({ field: z.string(), message: z.string() })) })

function commandOf(test: Case, capabilities: QemuCapabilities): string {
  const result = compile(
    compileInput(normalizeSpec(test.spec, factsFor(capabilities)), capabilities, {
      accelerator: test.accelerator,
      user: test.user,
      ...(test.runDir === undefined ? {} : { runDir: test.runDir }),
      ...(test.dataDir === undefined ? {} : { dataDir: test.dataDir }),
    }),
  )
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  const { plan } = result
  const helpers = plan.helpers.map(
    ({ id, option }) => `\n# first, for ${id}:\n# ${option.argv.map(quoteWord).join(' ')}`,
  )
  const pins = plan.pins.map(({ vcpu, hostCpus }) => `\n# then, virtual CPU ${vcpu} on host CPUs ${hostCpus}`)
  const commands = plan.commands.map(
    (command) => `\n# then, ${JSON.stringify(command.execute)} ${JSON.stringify(command.arguments)}`,
  )
  return `${[toShell(plan), ...helpers, ...commands, ...pins].join('')}\n`
}

/** @throws when nothing refuses it */
function refusalOf(test: Case, capabilities: QemuCapabilities): string {
  try {
    normalizeSpec(test.spec, factsFor(capabilities))
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    const several = Several.safeParse(error.details).data?.problems
    const problems = several ?? [{ field: error.field ?? '', message: error.message }]
    return problems.map(({ field, message }) => `# refused: ${field}: ${message}\n`).join('')
  }
  throw new Error(`QEMU ${capabilities.version} does not refuse it`)
}

const cases = readdirSync(dir)
  .filter((file) => file.endsWith('.json'))
  .sort()
const versions = [...capturedCapabilities()]

describe('golden command lines', () => {
  it('there are cases, and captured QEMUs from 7.2 on', () => {
    expect(cases.length).toBeGreaterThanOrEqual(10)
    expect(versions.map(([version]) => version)).toContain('7.2')
  })

  it('no golden file is left over from a removed case or QEMU', () => {
    const wanted = new Set(
      cases.flatMap((file) => versions.map(([version]) => `${file.replace('.json', '')}.qemu-${version}.sh`)),
    )
    expect(readdirSync(dir).filter((file) => file.endsWith('.sh') && !wanted.has(file))).toEqual([])
  })

  for (const file of cases) {
    const test = Case.parse(JSON.parse(readFileSync(`${dir}${file}`, 'utf8')))
    for (const [version, capabilities] of versions) {
      const golden = `${dir}${file.replace('.json', '')}.qemu-${version}.sh`
      it(`${file} for QEMU ${version}: ${test.about}`, () => {
        const text = test.refusedBy.includes(version) ? refusalOf(test, capabilities) : commandOf(test, capabilities)
        if (update) writeFileSync(golden, text)
        expect(existsSync(golden), `${golden} is missing: see __golden__/README.md`).toBe(true)
        expect(text).toBe(readFileSync(golden, 'utf8'))
      })
    }
  }
})
