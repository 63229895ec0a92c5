/** Writes openapi.json from the contract; with `--check` changes nothing and exits 1 when it would differ. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openApiText } from '#server/http/openapi.ts'

const file = join(import.meta.dirname, '..', 'openapi.json')
const text = openApiText()
if (!process.argv.includes('--check')) {
  writeFileSync(file, text)
  console.log(`gen-openapi: wrote ${file}`)
} else {
  let found = ''
  try {
    found = readFileSync(file, 'utf8')
  } catch {
    // Missing counts as different.
  }
  if (found !== text) {
    console.error('gen-openapi: openapi.json differs from the contract. Run: npm run gen:openapi')
    process.exitCode = 1
  } else {
    console.log('gen-openapi: openapi.json is up to date')
  }
}
