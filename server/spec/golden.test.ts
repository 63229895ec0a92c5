/** Argv is an ABI: see `__golden__/README.md`. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { VmSpecInput } from '#lib/schema/vm-spec.ts'
import { compile } from './compile.ts'
import { normalizeSpec } from './normalize.ts'
import { toShell } from './shell.ts'
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
})

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
        const spec = normalizeSpec(test.spec, factsFor(capabilities))
        const result = compile(
          compileInput(spec, capabilities, {
            accelerator: test.accelerator,
            user: test.user,
            ...(test.runDir === undefined ? {} : { runDir: test.runDir }),
            ...(test.dataDir === undefined ? {} : { dataDir: test.dataDir }),
          }),
        )
        if (!result.ok) throw new Error(JSON.stringify(result.problems))
        const text = `${toShell(result.plan)}\n`
        if (update) writeFileSync(golden, text)
        expect(existsSync(golden), `${golden} is missing: see __golden__/README.md`).toBe(true)
        expect(text).toBe(readFileSync(golden, 'utf8'))
      })
    }
  }
})
