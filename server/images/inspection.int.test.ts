/** What is found out about images as they come in, and about those that were there before. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  ESP,
  elfHead,
  LINUX,
  makeExt,
  makeFat,
  makeGptDisk,
  OS_RELEASE,
  putFiles,
  scratch,
} from '#server/filesystems/testing/forge.ts'
import { quietJob } from '#server/jobs/test-context.ts'
import { createDiskReader } from '#server/storage/disk-reader.ts'
import { admitFile } from './admit.ts'
import { createImageInspector, inspectOld } from './inspection.ts'
import { doorRig, OWNER } from './testing/door-rig.ts'

const DEBIAN = {
  os: { id: 'debian', name: 'Debian GNU/Linux', version: '12', architecture: 'x86_64' },
  bootModes: ['uefi'],
  cloudInit: false,
}

/** A disk of a small UEFI system, raw. */
function makeSystem(dir: string): string {
  const [esp, root] = [join(dir, 'esp'), join(dir, 'root')]
  mkdirSync(esp)
  putFiles(esp, { 'EFI/BOOT/BOOTX64.EFI': 'MZ' })
  putFiles(root, { 'usr/lib/os-release': OS_RELEASE, 'usr/bin/env': elfHead(62) })
  return makeGptDisk(join(dir, 'system.raw'), [
    { type: ESP, file: makeFat(join(dir, 'esp.img'), esp, 2) },
    { type: LINUX, file: makeExt(join(dir, 'root.img'), root, 'ext4', 4) },
  ])
}

async function rigWithInspector() {
  const rig = await doorRig()
  const readers = mkdtempSync(join(tmpdir(), 'gd-readers-'))
  onTestFinished(() => rmSync(readers, { recursive: true, force: true }))
  const inspector = createImageInspector(createDiskReader(rig.sandbox, readers))
  const admit = async (path: string) => {
    const temporary = rig.data.upload('arrived')
    copyFileSync(path, temporary)
    const request = { name: 'x', owner: OWNER, source: 'upload', sha256: null } as const
    return rig.library.get(await admitFile({ ...rig.deps, inspector }, temporary, request, quietJob()))
  }
  return { ...rig, inspector, admit }
}

test('the door looks inside of raw files and of those it converts, and the step is told', async () => {
  const { admit, library } = await rigWithInspector()
  const system = makeSystem(scratch())
  const raw = await admit(system)
  expect(raw).toMatchObject({ format: 'raw', inspected: DEBIAN })
  execFileSync('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', system, `${system}.qcow2`])
  const qcow2 = await admit(`${system}.qcow2`)
  expect(qcow2).toMatchObject({ format: 'qcow2', inspected: DEBIAN })
  if (qcow2 === null) throw new Error('not adopted')
  const view = library.view(qcow2, () => false)
  expect(view).toMatchObject({ ...DEBIAN, guest: 'linux' })
})

test('an image added before is looked into later, once; a name changed meanwhile stays', async () => {
  const { admit, library, inspector } = await rigWithInspector()
  const document = await admit(makeSystem(scratch()))
  if (document === null) throw new Error('not adopted')
  library.put({ ...document, inspected: null, name: 'old' })
  const looks: string[] = []
  const slow: typeof inspector = {
    async look(path, facts, signal) {
      looks.push(path)
      const found = await inspector.look(path, facts, signal)
      const now = library.get(document.id)
      if (now !== null) library.put({ ...now, name: 'renamed' })
      return found
    },
  }
  const warnings: string[] = []
  const run = () => inspectOld(library, slow, new AbortController().signal, (message) => warnings.push(message))
  await run()
  await run()
  expect(library.get(document.id)).toMatchObject({ name: 'renamed', inspected: DEBIAN })
  expect([looks, warnings]).toEqual([[library.filePath(document)], []])
})

test('a disk full of lies comes in all the same, as one of which nothing is known', async () => {
  const { admit } = await rigWithInspector()
  const dir = scratch()
  const lying = readFileSync(makeSystem(dir))
  // Everything after the tables claims to be as large as can be.
  for (let at = 2 ** 20; at < lying.length; at += 8) lying.fill(0xff, at, at + 4)
  const path = join(dir, 'lying.raw')
  execFileSync('sh', ['-c', 'cat > "$1"', 'sh', path], { input: lying })
  expect(await admit(path)).toMatchObject({ format: 'raw', inspected: { os: null, bootModes: [] } })
})
