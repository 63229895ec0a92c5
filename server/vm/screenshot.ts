/** Pictures of a guest's screen: QEMU writes a PNG into its own run directory, we take it from there. */

import { rm } from 'node:fs/promises'
import { EngineError } from '#server/engine/errors.ts'
import { errorCode, readPlainFile, UnsafeFileError } from '#server/platform/fs.ts'
import { QmpCommandError } from '#server/qmp/errors.ts'
import type { Guest } from './guest.ts'

const MAX_BYTES = 32 * 1024 * 1024
const TIMEOUT_MS = 5000
const FRESH_MS = 1000
const PNG_MAGIC = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

/** One per VM: askers at the same time share one picture, and none is taken more often than once a second. */
export class Screenshots {
  #picture: { png: Buffer; atMs: number } | null = null
  #taking: Promise<Buffer> | null = null

  /** @throws EngineError wrong_state the VM has no screen; unresponsive */
  async take(guest: Guest, nowMs: number): Promise<Buffer> {
    if (this.#picture && nowMs - this.#picture.atMs < FRESH_MS) return this.#picture.png
    this.#taking ??= capture(guest)
      .then((png) => {
        this.#picture = { png, atMs: nowMs }
        return png
      })
      .finally(() => {
        this.#taking = null
      })
    return await this.#taking
  }

  clear(): void {
    this.#picture = null
  }
}

async function capture(guest: Guest): Promise<Buffer> {
  const path = guest.paths.screenshot
  const device = guest.displayIds[0]
  if (guest.record?.spec?.display === 'none' || (guest.record?.plan && device === undefined)) {
    throw new EngineError('wrong_state', 'This VM has no screen: its display is set to none.')
  }
  // A leftover, or something a guest that broke out put there, must not be what is read below.
  await rm(path, { force: true })
  try {
    await guest.ask(
      'screendump',
      { filename: path, format: 'png', ...(device !== undefined && { device, head: 0 }) },
      { timeoutMs: TIMEOUT_MS },
    )
    const png = await readPlainFile(path, MAX_BYTES)
    if (!png.subarray(0, PNG_MAGIC.length).equals(PNG_MAGIC)) throw new UnsafeFileError('not a PNG')
    return png
  } catch (error) {
    if (error instanceof QmpCommandError) {
      throw new EngineError('unresponsive', 'QEMU could not take a picture of the screen.', {
        details: { desc: error.desc.replaceAll(guest.paths.dir, '…') },
        cause: error,
      })
    }
    if (error instanceof UnsafeFileError || errorCode(error) === 'ENOENT') {
      throw new EngineError('unresponsive', 'QEMU left no usable picture of the screen.', { cause: error })
    }
    throw new EngineError('unresponsive', 'QEMU does not answer, so there is no picture of the screen.', {
      cause: error,
    })
  } finally {
    await rm(path, { force: true }).catch(() => {})
  }
}
