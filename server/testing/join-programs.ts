/**
 * For tests that start many dashboards: each program with all its modules in a few files. Started from its sources a
 * dashboard uses two thirds of its time to find 1,300 modules and to take the types out of them, 4 s of a processor, and
 * tests that kill start hundreds. What the modules do is left as it is; the package and the browser's tests run the sources.
 *
 *   node server/testing/join-programs.ts DIR
 */
import { dirname, join } from 'node:path'
import { type InputOption, rolldown } from 'rolldown'

const ROOT = join(import.meta.dirname, '../..')
/** They look for files beside them. */
const LEFT_ALONE = /^(pino|libxml2-wasm|next|react|react-dom)(\/|$)/

/** What is looked for beside a module is there still, and what it starts is joined as well. */
const samePlaces = {
  name: 'same-places',
  transform(code: string, id: string) {
    if (!id.startsWith(ROOT) || id.includes('/node_modules/')) return null
    return code
      .replaceAll(/import\.meta\.dirname(?!, '[\w-]+\.ts')/g, JSON.stringify(dirname(id)))
      .replaceAll(/(new URL\('\.\/|import\.meta\.dirname, ')([\w-]+)\.ts'/g, "$1$2.mjs'")
  },
}
const leftAlone = {
  name: 'left-alone',
  resolveId: (id: string) => (LEFT_ALONE.test(id) ? { id: import.meta.resolve(id), external: true } : null),
}

async function joinPrograms(dir: string, input: InputOption): Promise<void> {
  const plugins = [samePlaces, leftAlone]
  await using build = await rolldown({ input, cwd: ROOT, platform: 'node', plugins, logLevel: 'silent' })
  await build.write({ dir, entryFileNames: '[name].mjs', chunkFileNames: '[name]-[hash].mjs', keepNames: true })
}

const [dir = ''] = process.argv.slice(2)
await joinPrograms(dir, {
  main: 'server/main.ts',
  serve: 'server/launcher/serve.ts',
  'hash-worker': 'server/platform/hash-worker.ts',
  'png-worker': 'server/engine/png-worker.ts',
})
// Loaded before a dashboard (`node --import`), which must not share a module with it.
for (const name of ['kill-points', 'kill-at', 'moved-clock']) {
  await joinPrograms(dir, { [name]: `server/testing/${name}.ts` })
}
