/** A recording under way, of either kind. */
export interface RecordingLimits {
  readonly maxBytes: number
  readonly maxMs: number
}

/** `asked`: somebody ended it; `limit`: long or large enough; `gone`: the guest's side ended; `failed`: see the reason. */
export type EndKind = 'asked' | 'limit' | 'gone' | 'failed'

export interface RecordingEnd {
  readonly kind: EndKind
  /** A sentence. */
  readonly reason: string
  readonly durationMs: number
  readonly sizeBytes: number
}

export interface RunningRecording {
  readonly durationMs: number
  readonly sizeBytes: number
  /** Resolves when the file is closed, whoever ended it. Never rejects. */
  readonly ended: Promise<RecordingEnd>
  /** Idempotent: the first reason stays. */
  stop(reason: string, kind?: EndKind): Promise<RecordingEnd>
}

export const TOO_LONG = 'It reached the longest time a recording may have.'
export const TOO_LARGE = 'It reached the largest size a recording may have.'
export const DISK_FULL = 'There was no room left on the disk.'
export const SOURCE_GONE = 'The guest’s console ended.'
