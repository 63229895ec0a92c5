/** What a console showed since it connected, for downloading; the oldest goes first beyond the bound. */
export class OutputLog {
  private chunks: Uint8Array<ArrayBuffer>[] = []
  private size = 0
  private readonly maxBytes: number

  constructor(maxBytes = 8 << 20) {
    this.maxBytes = maxBytes
  }

  get byteLength(): number {
    return this.size
  }

  append(chunk: Uint8Array<ArrayBuffer>): void {
    this.chunks.push(chunk)
    this.size += chunk.length
    while (this.size > this.maxBytes && this.chunks.length > 1) this.size -= this.chunks.shift()?.length ?? 0
  }

  clear(): void {
    this.chunks = []
    this.size = 0
  }

  toBlob(): Blob {
    return new Blob(this.chunks, { type: 'text/plain' })
  }
}
