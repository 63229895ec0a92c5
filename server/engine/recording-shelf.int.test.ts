import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { dataPaths } from '#server/paths.ts'
import { openStore } from '#server/store/sqlite.ts'
import { createRecordingShelf, type RecordingDocument } from './recording-shelf.ts'

const VM = '01890000-0000-7000-8000-0000000000aa'
const READ = '01890000-0000-7000-8000-000000000001'
const LATER = '01890000-0000-7000-8000-000000000002'
const NOBODYS = '01890000-0000-7000-8000-000000000003'

test('at start what cannot be read stays with its file, and a file that nothing knows goes', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'gd-shelf-'))
  const data = dataPaths(dir)
  const store = openStore(data)
  using cleanUp = new DisposableStack()
  cleanUp.defer(() => {
    store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  const whole: RecordingDocument = {
    ...{ v: 1, id: READ, vmId: VM, kind: 'serial', by: 'ada', always: false, reason: null, state: 'complete' },
    ...{
      startedAt: '2026-01-01T00:00:00.000Z',
      endedAt: '2026-01-01T00:01:00.000Z',
      endedSteadyMs: null,
      durationMs: 60_000,
      sizeBytes: 2,
    },
  }
  store.put('recording', READ, whole)
  store.put('recording', LATER, { ...whole, v: 2, id: LATER })
  mkdirSync(data.recordingsDir(VM), { recursive: true })
  for (const id of [READ, LATER, NOBODYS]) writeFileSync(data.recording(VM, id, 'serial'), '{}')

  const shelf = createRecordingShelf(store, data, () => {})
  expect(await shelf.open(() => true)).toEqual([expect.stringContaining(LATER)])
  expect(shelf.ofVm(VM).map(({ id }) => id)).toEqual([READ])
  const files = [READ, LATER, NOBODYS].map((id) => existsSync(data.recording(VM, id, 'serial')))
  expect(files).toEqual([true, true, false])
  expect(store.get('recording', LATER)).not.toBeNull()
})
