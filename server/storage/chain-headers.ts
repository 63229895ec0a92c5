/**
 * What the headers of disk files say of the file below. Guestdeck never reads it: every chain is named in full. It is for
 * whoever looks with qemu-img alone.
 */
import { EngineError } from '#server/engine/errors.ts'
import type { QemuImg } from './qemu-img.ts'
import type { ToolUser } from './sandbox.ts'
import type { LayerDocument } from './volume-documents.ts'
import type { Volumes } from './volume-types.ts'

export interface HeaderContext {
  readonly volumes: Pick<Volumes, 'pathOf' | 'childrenOf'>
  readonly qemuImg: Pick<QemuImg, 'renameBacking'>
  readonly warn: (message: string, error?: unknown) => void
}

/**
 * Makes every file that stands on `base` say so. Never throws.
 * @param userOf whose user may write the file
 * @param open files that a QEMU has open, which has written it itself
 */
export async function renameAbove(
  { volumes, qemuImg, warn }: HeaderContext,
  base: LayerDocument,
  userOf: (layer: LayerDocument) => ToolUser | null,
  open: readonly string[] = [],
): Promise<void> {
  const backing = { path: volumes.pathOf(base), format: base.format }
  for (const above of volumes.childrenOf(base.id)) {
    const path = volumes.pathOf(above)
    if (above.format !== 'qcow2' || open.includes(path)) continue
    try {
      await qemuImg.renameBacking(path, backing, { user: userOf(above) })
    } catch (error) {
      // A guest writes to it: of another VM, whose file was made when the present name was known.
      if (error instanceof EngineError && error.code === 'in_use') continue
      warn(`The header of ${above.file} still names a file that is gone.`, error)
    }
  }
}
