/** For tests: a library with its door, on a data directory of its own that goes away with the test. */
import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { JobContext } from '#server/jobs/registry.ts'
import { quietJob } from '#server/jobs/test-context.ts'
import { dataPaths } from '#server/paths.ts'
import { prepareDataDirs } from '#server/storage/dirs.ts'
import { guestIdentity } from '#server/storage/identity.ts'
import { createQemuImg } from '#server/storage/qemu-img.ts'
import { createToolSandbox } from '#server/storage/sandbox.ts'
import { createSpaceLedger } from '#server/storage/space.ts'
import { openStore } from '#server/store/sqlite.ts'
import { admitFile } from '../admit.ts'
import { createImageLibrary } from '../library.ts'
import type { AdmitRequest } from '../prepare.ts'

export const MiB = 2 ** 20
export const OWNER = { id: '01890000-0000-7000-8000-000000000001', name: 'ann' }

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

export async function doorRig(parent = tmpdir()) {
  const root = mkdtempSync(join(parent, 'gd-door-'))
  cleanups.push(() => rmSync(root, { recursive: true, force: true }))
  const data = dataPaths(join(root, 'data'))
  const { readersGid } = guestIdentity(process.getuid?.() === 0)
  await prepareDataDirs(data, readersGid)
  const store = openStore(data)
  cleanups.push(() => store.close())
  const open = async () => {
    const library = createImageLibrary({
      data,
      store,
      readersGid,
      uses: () => [],
      onChange: () => {},
      warn: () => {},
    })
    await library.open()
    return library
  }
  const library = await open()
  const sandbox = await createToolSandbox()
  const space = createSpaceLedger(data.root, 0)
  const deps = { data, store, library, space, sandbox, qemuImg: createQemuImg(sandbox) }
  const file = (name: string) => join(root, name)
  return {
    ...deps,
    deps,
    open,
    /** A path beside the data directory. */
    file,
    /** Moves a file in as an upload that is complete, and admits it. */
    async admit(name: string, change: Partial<AdmitRequest> = {}, job: Partial<JobContext> = {}): Promise<string> {
      const temporary = data.upload('arrived')
      renameSync(file(name), temporary)
      const request = { name, owner: OWNER, source: 'upload', sha256: null, ...change } as const
      return admitFile(deps, temporary, request, quietJob(job))
    },
    /** Whatever lies in uploads and images. */
    leftovers: () => [...readdirSync(data.uploadsDir), ...readdirSync(data.imagesDir)],
  }
}
