/** What the player needs of a recording, whichever console it is of. */
export interface Replay {
  readonly durationMs: number
  /** Shows the moment. Calls that come meanwhile are answered by the latest. */
  show(positionMs: number): void
  /** Called when something that is needed later does not come. */
  onFailure(listener: (cause: unknown) => void): void
  dispose(): void
}

/** Bytes `from` up to `to`, both inclusive. @throws Error when they do not come */
export async function fetchRange(
  url: string,
  signal: AbortSignal,
  from: number,
  to: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url, { credentials: 'same-origin', signal, headers: { range: `bytes=${from}-${to}` } })
  if (answer.status !== 206) throw new Error(`HTTP ${answer.status}`)
  return new Uint8Array(await answer.arrayBuffer())
}

/** The file is not what it should be, or empty. */
export class UnplayableError extends Error {
  override readonly name = 'UnplayableError'
}

/** @throws Error when it does not come */
export async function fetchRecording(
  url: string,
  signal: AbortSignal,
  onChunk: (chunk: Uint8Array<ArrayBuffer>) => void,
): Promise<void> {
  const answer = await fetch(url, { credentials: 'same-origin', signal })
  if (!answer.ok || answer.body === null) throw new Error(`HTTP ${answer.status}`)
  const reader = answer.body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      onChunk(value)
    }
  } finally {
    void reader.cancel().catch(() => {})
  }
}
