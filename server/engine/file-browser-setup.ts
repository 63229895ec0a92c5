/** Puts the parts of looking at files together. */
import type { DiskReader } from '#server/storage/disk-reader.ts'
import { createFileBrowser, type FileBrowser } from './file-browser.ts'
import { createFileHelpers, type FileHelperDeps } from './file-helpers.ts'
import { createFileSources, type FileSourceDeps } from './file-sources.ts'
import type { Journal } from './journal.ts'

export interface FileBrowserSetup extends FileHelperDeps, FileSourceDeps {
  readonly disks: DiskReader
  readonly journal: Pick<Journal, 'write'>
}

export function setUpFileBrowser(setup: FileBrowserSetup): FileBrowser {
  return createFileBrowser({
    disks: setup.disks,
    helpers: createFileHelpers(setup),
    sources: createFileSources(setup),
    note: (caller, source, name, path) =>
      setup.journal.write({
        what: `${name.kind}FileContent`,
        text: `${caller.name} took the file ${path} from ${source.title}.`,
        ...{ result: 'ok', caller, topic: name.kind === 'snapshot' ? 'vm' : name.kind },
        ...{ objectId: name.kind === 'snapshot' ? name.vmId : name.id, objectName: source.title },
        ...(source.ownerId !== null && { ownerId: source.ownerId }),
      }),
  })
}
