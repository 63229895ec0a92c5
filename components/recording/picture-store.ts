/**
 * Pictures of a recording in bounded memory: the first of them stay, where the others lie in the file is remembered, and
 * they are fetched when they are shown, some at a time.
 */
export interface Picture {
  readonly atMs: number
  readonly isKey: boolean
  /** Where in the file what is compressed begins. */
  readonly payloadAt: number
  readonly length: number
}

/** Bytes `from` up to `to`, both inclusive, of the file. */
export type FetchRange = (from: number, to: number) => Promise<Uint8Array<ArrayBuffer>>

/** What stays of a recording; most are smaller as a whole. */
const KEEP_MAX_BYTES = 64 << 20
/** So much is fetched at once, or one picture where that is larger. */
const WINDOW_BYTES = 4 << 20

export class PictureStore {
  readonly pictures: Picture[] = []
  private readonly kept: Uint8Array<ArrayBuffer>[] = []
  private keptBytes = 0
  private window: { readonly at: number; readonly bytes: Uint8Array<ArrayBuffer> } | null = null
  private readonly fetchRange: FetchRange
  private readonly keepMaxBytes: number
  private readonly windowBytes: number

  constructor(fetchRange: FetchRange, keepMaxBytes = KEEP_MAX_BYTES, windowBytes = WINDOW_BYTES) {
    this.fetchRange = fetchRange
    this.keepMaxBytes = keepMaxBytes
    this.windowBytes = windowBytes
  }

  /** In order of the file. */
  add(picture: Omit<Picture, 'length'>, payload: Uint8Array<ArrayBuffer>): void {
    this.pictures.push({ ...picture, length: payload.length })
    const isNext = this.kept.length === this.pictures.length - 1
    if (!isNext || this.keptBytes + payload.length > this.keepMaxBytes) return
    this.kept.push(payload)
    this.keptBytes += payload.length
  }

  /** @throws Error when it does not come */
  async payloadOf(index: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const picture = this.pictures[index]
    if (picture === undefined) return null
    const kept = this.kept[index]
    if (kept !== undefined) return kept
    const { payloadAt, length } = picture
    const inWindow = this.window
    if (inWindow === null || payloadAt < inWindow.at || payloadAt + length > inWindow.at + inWindow.bytes.length) {
      const last = this.pictures.at(-1) ?? picture
      const to = Math.min(payloadAt + Math.max(length, this.windowBytes), last.payloadAt + last.length)
      this.window = { at: payloadAt, bytes: await this.fetchRange(payloadAt, to - 1) }
    }
    const { at, bytes } = this.window ?? { at: 0, bytes: new Uint8Array(0) }
    return bytes.subarray(payloadAt - at, payloadAt - at + length)
  }
}
